"""Evidence -> one verdict, with a stable code for whatever speaks against enforce or is still missing."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from mailward.core.check.codes import Code as Finding
from mailward.core.mtasts.policy import Mode
from mailward.core.rollout.conditions import Conditions
from mailward.core.rollout.evidence import Evidence, Probe

STEP_BACK_FRESH = timedelta(hours=6)


class State(StrEnum):
    NO_POLICY = "no-policy"
    NONE = "mode-none"
    BLOCKED = "blocked"
    """In testing; under enforce mail would have been, or would be, refused."""
    WAITING = "waiting"
    """In testing; nothing speaks against enforce, and evidence is missing."""
    READY = "ready"
    ENFORCED = "enforced"
    AT_RISK = "at-risk"
    """Enforced, and senders that follow the policy refuse some mail."""


class Code(StrEnum):
    # these speak against it
    HOST_REFUSED = "host-refused"
    SESSIONS_REFUSED = "sessions-refused"
    CERTIFICATE_ENDS = "certificate-ends"
    CHANGE_REFUSED = "change-refused"
    # these are missing
    NOT_SERVED = "not-served"
    NOT_SEEN = "policy-not-seen"
    ID_NOT_SEEN = "id-not-seen"
    TESTING_SHORT = "testing-short"
    NO_REPORTS = "no-reports"
    REPORTS_OLD = "reports-old"
    FEW_REPORTERS = "few-reporters"
    FEW_SESSIONS = "few-sessions"
    NOT_FETCHED = "not-fetched"
    NOT_CHECKED = "not-checked"
    CHECK_OLD = "check-old"
    HOST_UNOBSERVED = "host-unobserved"


AGAINST = frozenset((Code.HOST_REFUSED, Code.SESSIONS_REFUSED, Code.CERTIFICATE_ENDS, Code.CHANGE_REFUSED))


OWN_FAULTS = frozenset(
    (
        Finding.STARTTLS_NOT_SUPPORTED,
        Finding.STARTTLS_REFUSED,
        Finding.TLS_HANDSHAKE,
        Finding.TLS_VERSION,
        Finding.CERTIFICATE_EXPIRED,
        Finding.CERTIFICATE_NOT_YET_VALID,
        Finding.CERTIFICATE_HOST_MISMATCH,
        Finding.CERTIFICATE_COMMON_NAME_ONLY,
        Finding.CERTIFICATE_SELF_SIGNED,
        Finding.CERTIFICATE_NOT_TRUSTED,
        Finding.CERTIFICATE_CHAIN_INCOMPLETE,
    )
)
"""What our probes find at an MX host and may take a policy back to testing. Not that a host is not covered: an MX
record can be forged, and the cure for it is another policy."""


@dataclass(frozen=True, slots=True)
class Reason:
    code: Code
    about: tuple[str, ...] = ()
    """Hosts or senders concerned; strangers' texts."""
    have: int = 0
    need: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    reasons: tuple[Reason, ...] = ()
    """What speaks against enforce first, then what is missing."""

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(reason.code.value for reason in self.reasons)


def judge(evidence: Evidence, conditions: Conditions) -> Verdict:
    match evidence.mode:
        case None:
            return Verdict(State.NO_POLICY)
        case Mode.NONE:
            return Verdict(State.NONE)
        case Mode.ENFORCE:
            reasons = (*_against(evidence, conditions), *_blind(evidence, conditions))
            at_risk = any(reason.code in AGAINST for reason in reasons)
            return Verdict(State.AT_RISK if at_risk else State.ENFORCED, reasons)
    against = tuple(_against(evidence, conditions))
    missing = tuple(_missing(evidence, conditions))
    state = State.BLOCKED if against else State.WAITING if missing else State.READY
    return Verdict(state, against + missing)


def _against(evidence: Evidence, conditions: Conditions) -> Iterator[Reason]:
    probe = evidence.probe
    if probe is not None and probe.refuses:
        yield Reason(Code.HOST_REFUSED, probe.refuses)
    refusing = [
        each
        for each in evidence.reporters
        if each.recent_refused * 100 > each.recent * conditions.max_refused_percent
    ]
    if refusing:
        count = sum(each.recent_refused for each in refusing if each.policy_type == "sts")
        count = count or sum(each.recent_refused for each in refusing)
        yield Reason(Code.SESSIONS_REFUSED, tuple(dict.fromkeys(each.name for each in refusing)), count)
    if probe is not None:
        yield from _ending(evidence, probe, conditions)
    if evidence.refusals:
        yield Reason(Code.CHANGE_REFUSED, evidence.refusals)


def _ending(evidence: Evidence, probe: Probe, conditions: Conditions) -> Iterator[Reason]:
    ends = {"the MX hosts": probe.mx_ends_at, "the policy host": probe.policy_ends_at}
    for whose, end in ends.items():
        if end is not None and end - evidence.now < timedelta(days=conditions.certificate_days):
            left = max(0, (end - evidence.now).days)
            yield Reason(Code.CERTIFICATE_ENDS, (whose,), left, conditions.certificate_days)


def _missing(evidence: Evidence, conditions: Conditions) -> Iterator[Reason]:
    if not evidence.is_served:
        yield Reason(Code.NOT_SERVED)
    probe = evidence.probe
    if probe is not None and not probe.policy_seen:
        yield Reason(Code.NOT_SEEN)
    if probe is not None and not probe.id_seen:
        yield Reason(Code.ID_NOT_SEEN)
    days = (evidence.now - evidence.mode_since).days if evidence.mode_since else 0
    if days < conditions.testing_days:
        yield Reason(Code.TESTING_SHORT, (), days, conditions.testing_days)
    yield from _of_reports(evidence, conditions)
    if evidence.fetches == 0:
        yield Reason(Code.NOT_FETCHED)
    yield from _blind(evidence, conditions)


def _of_reports(evidence: Evidence, conditions: Conditions) -> Iterator[Reason]:
    """Sessions of senders that applied the policy: without one they show nothing of it."""
    applied = [each for each in evidence.reporters if each.policy_type == "sts" and each.sessions]
    last = max((each.last_day for each in applied), default=None)
    if last is None:
        yield Reason(Code.NO_REPORTS)
        return
    age = _age(last, evidence.now.date())
    if age > conditions.fresh_days:
        yield Reason(Code.REPORTS_OLD, (), age, conditions.fresh_days)
    if (count := len({each.name for each in applied})) < conditions.min_reporters:
        yield Reason(Code.FEW_REPORTERS, (), count, conditions.min_reporters)
    if evidence.sts_sessions < conditions.min_sessions:
        yield Reason(Code.FEW_SESSIONS, (), evidence.sts_sessions, conditions.min_sessions)


def _blind(evidence: Evidence, conditions: Conditions) -> Iterator[Reason]:
    """What our own probes have not seen."""
    probe = evidence.probe
    if probe is None:
        yield Reason(Code.NOT_CHECKED)
        return
    age = (evidence.now - probe.checked_at).days
    if age >= conditions.fresh_days:
        yield Reason(Code.CHECK_OLD, (), age, conditions.fresh_days)
    if probe.unobserved or not (probe.accepts or probe.refuses):
        yield Reason(Code.HOST_UNOBSERVED, probe.unobserved)


def _age(day: date, today: date) -> int:
    """Days since `day`. A report is about a day that is over, so that yesterday's is as new as can be."""
    return max(0, (today - day).days - 1)


def may_step_back(evidence: Evidence, confirmed: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """The MX hosts whose own faults justify a step back to testing; empty: nothing does.

    `confirmed`: MX host -> codes of findings that two of our looks in a row showed. Reports are not asked: failures
    that jump under enforce may be the attack itself. While one host still takes mail from strict senders, mail flows.
    """
    probe = evidence.probe
    if evidence.mode is not Mode.ENFORCE or probe is None or probe.accepts or probe.unobserved:
        return ()
    if evidence.now - probe.checked_at > STEP_BACK_FRESH:
        return ()
    faulty = {host for host, codes in confirmed.items() if OWN_FAULTS & set(codes)}
    return probe.refuses if probe.refuses and set(probe.refuses) <= faulty else ()
