"""What Postfix does not report, as corrections of the counts (RFC 8460 section 4.3, RFC 8461 sections 4 and 5).

Under a `testing` policy Postfix asks nothing of a host: a session with a host that the policy does not name, or whose
certificate names another, is a success, and mail in the clear is nothing at all. Under an enforcing policy it passes
over hosts that the policy does not name, without a word to TLSRPT.

A correction of a success takes it back and counts a failure, under the very policy, record and day that it was
counted under: the sum of sessions stays what it was.
"""

import ipaddress
from collections.abc import Sequence

from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain, matches_mx
from mailward.core.postfix.answer import plain_lines
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
        detail = _detail(ResultType.VALIDATION_FAILURE, session, MX_MISMATCH)
    elif session.kind is Kind.CLEAR and policy.mode is Mode.TESTING:
        # RFC 8461 §4: a host is compared with the policy before anything is asked of it
        detail = (
            _detail(ResultType.STARTTLS_NOT_SUPPORTED, session, None)
            if named
            else _detail(ResultType.VALIDATION_FAILURE, session, MX_MISMATCH)
        )
    else:
        return None
    day = day_of(session.at)
    return Tally(day, session.domain, record, label, Origin.LOG, 0, 1, (Detail(detail, 1),))


def sts_label(domain: Domain, policy: Policy, *, has_patterns: bool = True) -> schema.Policy:
    """As Postfix labels its datagrams with this policy, so that both add up. `has_patterns`: whether the answer to
    Postfix has them, see `core.postfix.answer`.
    """
    return schema.Policy(
        policy_type=PolicyType.STS.value,
        policy_string=tuple(plain_lines(policy)),
        policy_domain=domain,
        mx_host=usable_names(policy.mx) if has_patterns else (),
    )


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
