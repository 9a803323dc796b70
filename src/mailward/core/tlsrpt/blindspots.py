"""What Postfix does not report, as corrections of the counts (RFC 8460 section 4.3, RFC 8461 sections 4 and 5).

Under a `testing` policy Postfix asks nothing of a host: a session with a host that the policy does not name, or whose
certificate names another, is a success, and mail in the clear is nothing at all. Without any policy mail in the clear
is nothing as well, though the owner asks for reports: who hides the policy at first contact and strips STARTTLS would
be seen by nobody. Under an enforcing policy Postfix passes over hosts that the policy does not name, without a word to
TLSRPT.

A correction of a success takes it back and counts a failure, under the very policy, record and day that it was
counted under: the sum of sessions stays what it was.
"""

import ipaddress
from collections.abc import Sequence

from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain, matches_mx
from mailward.core.postfix.answer import plain_lines
from mailward.core.sending.facts import Level
from mailward.core.sending.table import usable_names
from mailward.core.tlsrpt import schema
from mailward.core.tlsrpt.counting import Detail, Origin, Tally, day_of
from mailward.core.tlsrpt.joining import Kind, Session
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import FailureDetail, PolicyType

MX_MISMATCH = "mtasts-policy-mx-mismatch"
"""Failure reason code: RFC 8460 has no result type for it; other senders use this one too."""


def correct_signal(session: Session) -> Tally | None:
    """A success under a testing policy with a host that the policy does not name."""
    signal = session.signal
    if signal is None or signal.tally.successes != 1:
        return None
    patterns = patterns_in_testing(signal.tally.policy)
    if not patterns or _names(patterns, session.host):
        return None
    detail = _detail(ResultType.VALIDATION_FAILURE, session, MX_MISMATCH)
    return _turned(signal.tally, Origin.LOG, detail)


def correct_verified(session: Session, result: ResultType, reason: str) -> Tally | None:
    """A success under a testing policy with a host whose certificate, as we have seen it, is not what it must be."""
    signal = session.signal
    if signal is None or signal.tally.successes != 1 or not patterns_in_testing(signal.tally.policy):
        return None
    return _turned(signal.tally, Origin.PROBE, _detail(result, session, reason or None))


def count_unreported(session: Session, policy: Policy, label: schema.Policy, record: str) -> Tally | None:
    """A session without a datagram, under this policy; None where it is no failure of it."""
    named = _names(policy.mx, session.host)
    if session.kind is Kind.OUTSIDE and policy.mode is Mode.ENFORCE and not named:
        return _unreported(session, label, record, ResultType.VALIDATION_FAILURE, MX_MISMATCH)
    if session.kind is Kind.CLEAR and policy.mode is Mode.TESTING:
        # RFC 8461 §4: a host is compared with the policy before anything is asked of it
        if named:
            return _unreported(session, label, record, ResultType.STARTTLS_NOT_SUPPORTED, None)
        return _unreported(session, label, record, ResultType.VALIDATION_FAILURE, MX_MISMATCH)
    return None


def count_without_policy(session: Session, record: str) -> Tally | None:
    """A session without a datagram, with a domain of which no policy was known. RFC 8460 section 4.2.2 counts each
    that was not negotiated, section 4.4 calls its policy `no-policy-found`.
    """
    if session.kind is not Kind.CLEAR:
        return None
    label = no_policy_label(session.domain)
    return _unreported(session, label, record, ResultType.STARTTLS_NOT_SUPPORTED, None)


def _unreported(
    session: Session, label: schema.Policy, record: str, result: ResultType, reason: str | None
) -> Tally:
    detail = Detail(_detail(result, session, reason), 1)
    return Tally(day_of(session.at), session.domain, record, label, Origin.LOG, 0, 1, (detail,))


def sts_label(domain: Domain, policy: Policy, site_level: str = Level.MAY) -> schema.Policy:
    """As Postfix labels its datagrams with this policy, so that both add up. `site_level`: Postfix's own, for mail
    that no policy is applied to.
    """
    # at `dane` Postfix is not told the patterns of a testing policy (core.postfix.answer)
    has_patterns = not (policy.mode is Mode.TESTING and site_level == Level.DANE)
    return schema.Policy(
        policy_type=PolicyType.STS.value,
        policy_string=tuple(plain_lines(policy)),
        policy_domain=domain,
        mx_host=usable_names(policy.mx) if has_patterns else (),
    )


def no_policy_label(domain: Domain) -> schema.Policy:
    """The same where it knows of none."""
    return schema.Policy(policy_type=PolicyType.NO_POLICY_FOUND.value, policy_domain=domain)


def patterns_in_testing(policy: schema.Policy) -> tuple[str, ...]:
    """The mx patterns of a policy, if it is a testing one."""
    if policy.policy_type != PolicyType.STS:
        return ()
    fields = [
        (name, value.strip()) for name, _, value in (line.partition(":") for line in policy.policy_string)
    ]
    if next((value for name, value in fields if name == "mode"), "") != Mode.TESTING:
        return ()
    return policy.mx_host or tuple(value for name, value in fields if name == "mx")


def _names(patterns: Sequence[str], host: str) -> bool:
    return any(matches_mx(pattern, host) for pattern in patterns)


def _turned(tally: Tally, origin: Origin, detail: FailureDetail) -> Tally:
    return tally._replace(origin=origin, successes=-1, failures=1, details=(Detail(detail, 1),))


def _detail(result: ResultType, session: Session, reason: str | None) -> FailureDetail:
    return FailureDetail(
        result_type=result.value,
        receiving_mx_hostname=session.host,
        receiving_ip=_address(session.address),
        failure_reason_code=reason,
    )


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))  # RFC 5952
    except ValueError:
        return None
