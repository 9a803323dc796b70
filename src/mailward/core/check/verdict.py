"""What each kind of sender does with mail for the domain, and when that changes.

Four kinds, because a domain can pass one and fail the next: RFC 8461 asks that the MX host's name is in the policy and
in the certificate; Postfix with a plugin compares the certificate's names with the policy, at any depth; DANE looks at
TLSA records; all others encrypt where they can and deliver anyhow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailward.core.check.rules.dns import is_null
from mailward.core.check.view import HostView, Look, View
from mailward.core.dane.judge import HostState
from mailward.core.dane.tlsa import DANE_TA
from mailward.core.mtasts.policy import Mode


class Kind(StrEnum):
    MTA_STS = "mta-sts"
    POSTFIX = "postfix-mta-sts"
    DANE = "dane"
    OPPORTUNISTIC = "opportunistic"


class Outcome(StrEnum):
    DELIVERS = "delivers"
    """To every MX host that was seen; for MTA-STS and DANE, only to hosts that prove who they are."""
    PARTLY = "partly"
    """To some hosts; others are passed over, and when only those are left, mail waits."""
    REFUSES = "refuses"
    UNPROTECTED = "unprotected"
    """Delivers, and does not notice an attacker."""
    NO_MAIL = "no-mail"
    """The domain takes no mail, or has no host that could."""
    UNKNOWN = "unknown"
    """What decides it was not observed from here."""


class Why(StrEnum):
    """Why senders go unprotected, or why it is not known."""

    NONE = ""
    NO_RECORD = "no-record"
    NO_POLICY = "no-policy"
    TESTING = "testing"
    MODE_NONE = "mode-none"
    NO_TLSA = "no-tlsa"
    SOME_TLSA = "some-tlsa"
    NOT_VALIDATING = "not-validating"
    CLEAR_TEXT = "clear-text"
    NOT_OBSERVED = "not-observed"
    POLICY_NOT_OBSERVED = "policy-not-observed"
    MX_UNSIGNED = "mx-unsigned"


@dataclass(frozen=True, slots=True)
class Verdict:
    kind: Kind
    outcome: Outcome
    why: Why = Why.NONE
    accepted: tuple[str, ...] = ()
    """MX hosts that such a sender delivers to, wholly or at some of their addresses."""
    refused: tuple[str, ...] = ()
    unobserved: tuple[str, ...] = ()
    changes_at: datetime | None = None
    """When the first certificate ends that it relies on."""
    changing: int = 0
    """How many of the accepted hosts lose theirs within 30 days."""


_SOON_DAYS = 30
_Accepts = Callable[[Look], bool]


def judge(view: View) -> tuple[Verdict, ...]:
    """One for each kind, in their order."""
    if is_null(view) or not any(host.host.addresses for host in view.hosts):
        outcome = Outcome.UNKNOWN if _has_failed(view) else Outcome.NO_MAIL
        return tuple(Verdict(kind, outcome) for kind in Kind)
    return (
        _judge_sts(view, Kind.MTA_STS),
        _judge_sts(view, Kind.POSTFIX),
        _judge_dane(view),
        _judge_others(view),
    )


def _has_failed(view: View) -> bool:
    lookups = [lookup for host in view.facts.hosts for lookup in (host.v4, host.v6)]
    return view.facts.mx.has_failed or any(lookup.has_failed for lookup in lookups)


def _judge_sts(view: View, kind: Kind) -> Verdict:
    if view.is_policy_unobserved:
        return Verdict(kind, Outcome.UNKNOWN, Why.POLICY_NOT_OBSERVED)
    if view.mode is not Mode.ENFORCE:
        whys = {Mode.TESTING: Why.TESTING, Mode.NONE: Why.MODE_NONE}
        absent = Why.NO_RECORD if view.served is not None else Why.NO_POLICY
        return Verdict(kind, Outcome.UNPROTECTED, whys[view.mode] if view.mode else absent)
    if kind is Kind.POSTFIX:
        return _weigh(view, kind, view.hosts, lambda look: look.is_trusted and look.names_pattern)
    covered = [host for host in view.hosts if host.covered_by is not None]
    verdict = _weigh(view, kind, covered, lambda look: look.is_trusted and look.names_host)
    uncovered = tuple(host.name for host in view.hosts if host.covered_by is None)
    if not uncovered:
        return verdict
    outcome = Outcome.PARTLY if verdict.accepted else verdict.outcome
    if not verdict.unobserved and not verdict.accepted:
        outcome = Outcome.REFUSES
    return Verdict(
        kind,
        outcome,
        verdict.why,
        verdict.accepted,
        uncovered + verdict.refused,
        verdict.unobserved,
        verdict.changes_at,
        verdict.changing,
    )


def _judge_dane(view: View) -> Verdict:
    if not view.facts.validates:
        return Verdict(Kind.DANE, Outcome.UNKNOWN, Why.NOT_VALIDATING)
    states = {host.dane for host in view.hosts}
    bound = [host for host in view.hosts if host.dane in (HostState.USABLE, HostState.FAILED)]
    if not bound:
        return Verdict(Kind.DANE, Outcome.UNPROTECTED, Why.NO_TLSA)
    verdict = _weigh(view, Kind.DANE, bound, lambda look: look.dane.is_authenticated)
    if states & {HostState.WITHOUT, HostState.UNUSABLE}:
        why, outcome = Why.SOME_TLSA, Outcome.UNPROTECTED
    elif not view.facts.mx.is_secure and verdict.outcome is Outcome.DELIVERS:
        why, outcome = Why.MX_UNSIGNED, Outcome.UNPROTECTED  # RFC 7672 §2.2.1: the MX records can be forged
    else:
        return verdict
    return Verdict(Kind.DANE, outcome, why, verdict.accepted, verdict.refused, verdict.unobserved)


def _judge_others(view: View) -> Verdict:
    verdict = _weigh(view, Kind.OPPORTUNISTIC, view.hosts, lambda look: look.is_encrypted)
    if verdict.refused:  # they deliver all the same, in the clear
        names = verdict.accepted, verdict.refused, verdict.unobserved
        return Verdict(Kind.OPPORTUNISTIC, Outcome.UNPROTECTED, Why.CLEAR_TEXT, *names)
    names = verdict.accepted, (), verdict.unobserved
    return Verdict(Kind.OPPORTUNISTIC, verdict.outcome, verdict.why, *names)


def _weigh(
    view: View, kind: Kind, hosts: list[HostView] | tuple[HostView, ...], accepts: _Accepts
) -> Verdict:
    accepted, partly, refused, unobserved, ends = [], False, [], [], list[datetime]()
    for host in hosts:
        taken = [look for look in host.looks if accepts(look)]
        if kind is Kind.DANE and host.dane is HostState.FAILED:
            refused.append(host.name)
        elif taken:
            accepted.append(host.name)
            partly = partly or len(taken) < len(host.looks)
            if dates := [end for look in taken if (end := _end(kind, look)) is not None]:
                ends.append(min(dates))
        elif host.looks:
            refused.append(host.name)
        elif host.host.addresses:
            unobserved.append(host.name)
    outcome = Outcome.DELIVERS if accepted else Outcome.REFUSES
    if accepted and (refused or partly):
        outcome = Outcome.PARTLY
    elif unobserved and not accepted:
        outcome = Outcome.UNKNOWN
    return Verdict(
        kind,
        outcome,
        Why.NOT_OBSERVED if outcome is Outcome.UNKNOWN else Why.NONE,
        tuple(accepted),
        tuple(refused),
        tuple(unobserved),
        min(ends, default=None),
        sum((end - view.facts.at).days < _SOON_DAYS for end in ends),
    )


def _end(kind: Kind, look: Look) -> datetime | None:
    """When the certificate ends that this sender relies on. Dates mean nothing to DANE-EE."""
    if kind is Kind.DANE:
        record = look.dane.record
        return look.dane.ends if record is not None and record.usage == DANE_TA else None
    return look.certificate.not_after if look.certificate else None
