"""Writing a report as RFC 8460 section 4.4 wants it."""

from datetime import UTC

import msgspec

from mailward.core.tlsrpt.schema import UNKNOWN_RANGE, DateRange, Policy, Report
from mailward.core.tlsrpt.spelling import read_domain


def serialise_report(report: Report) -> bytes:
    """Strict JSON: lists, A-labels, times in UTC with `Z`. What is None is left out, not made up."""
    return msgspec.json.encode(_strict(report))


def _strict(report: Report) -> Report:
    period = report.date_range
    in_utc = DateRange(
        start_datetime=period.start_datetime and period.start_datetime.astimezone(UTC),
        end_datetime=period.end_datetime and period.end_datetime.astimezone(UTC),
    )
    return msgspec.structs.replace(
        report,
        date_range=UNKNOWN_RANGE if in_utc == UNKNOWN_RANGE else in_utc,
        policies=tuple(
            msgspec.structs.replace(result, policy=_strict_policy(result.policy))
            for result in report.policies
        ),
    )


def _strict_policy(policy: Policy) -> Policy:
    # RFC 8460 §4.4: "MUST consist of the Punycode-encoded A-labels", in both
    domain = policy.policy_domain
    return msgspec.structs.replace(
        policy,
        policy_domain=domain and read_domain(domain)[0],
        mx_host=tuple(each if each.isascii() else _strict_pattern(each) for each in policy.mx_host),
    )


def _strict_pattern(pattern: str) -> str:
    name = pattern.removeprefix("*.")  # IDNA knows no asterisk
    return pattern[: len(pattern) - len(name)] + read_domain(name)[0]
