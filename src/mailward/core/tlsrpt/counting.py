"""Sessions, counted for the report of a day (RFC 8460 section 4.4).

A `Tally` is what one source saw of the sessions under one policy; tallies of one day, domain and policy add up to an
entry of the report. They may be negative: where a later word corrects an earlier one (Postfix calls a session a
success, its log shows that the policy was not met), the correction takes back what was counted.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from mailward.core.names import Domain
from mailward.core.tlsrpt.results import ResultType
from mailward.core.tlsrpt.schema import MAX_COUNT, FailureDetail, Policy, PolicyResult, Summary


class Origin(StrEnum):
    """Who saw it."""

    DATAGRAM = "datagram"
    """Postfix, by libtlsrpt."""
    DISCOVERY = "discovery"
    """Our own look for the policy: what comes before any connection to an MX host."""
    LOG = "log"
    """Postfix's log, where it sends no datagram."""
    PROBE = "probe"
    """Our own connection to the MX host that the mail went to."""


class Detail(NamedTuple):
    failure: FailureDetail
    """Without its count."""
    sessions: int


class Tally(NamedTuple):
    day_utc: date
    domain: Domain
    """The TLSRPT domain: the one whose record asks for reports."""
    record: str
    """Its TXT record as it was seen."""
    policy: Policy
    origin: Origin
    successes: int
    """Sessions, not datagrams."""
    failures: int
    details: tuple[Detail, ...] = ()


class DomainDay(NamedTuple):
    """What is to be reported about one domain and day."""

    day_utc: date
    domain: Domain
    record: str
    """The one seen last on that day."""
    results: tuple[PolicyResult, ...]
    cut: int = 0
    """Failed sessions whose details were put together because there were too many different ones."""
    part: int = 0
    """0: what its report has; above: what came when that was made, for a supplement."""


def add_up(tallies: Iterable[tuple[Policy, int, int, Iterable[Detail]]]) -> tuple[PolicyResult, ...]:
    """One result a policy, in the order of their first appearance; details most frequent first."""
    sums: dict[Policy, list[int]] = {}
    details: dict[Policy, dict[FailureDetail, int]] = {}
    for policy, successes, failures, counted in tallies:
        total = sums.setdefault(policy, [0, 0])
        total[0] += successes
        total[1] += failures
        of_policy = details.setdefault(policy, {})
        for failure, count in counted:
            of_policy[failure] = of_policy.get(failure, 0) + count
    return tuple(
        _result(policy, successes, failures, details[policy])
        for policy, (successes, failures) in sums.items()
    )


def _result(policy: Policy, successes: int, failures: int, details: dict[FailureDetail, int]) -> PolicyResult:
    if successes < 0:
        # corrections of successes that an earlier report has: the session is there already, and is not told twice
        failures += successes
        details = _without(details, -successes)
    return PolicyResult(
        policy=policy,
        summary=Summary(
            total_successful_session_count=_bounded(successes),
            total_failure_session_count=_bounded(failures),
        ),
        failure_details=_counted(details),
    )


def _without(details: dict[FailureDetail, int], sessions: int) -> dict[FailureDetail, int]:
    """So many sessions less, of those that corrections add."""
    left = dict(details)
    for failure in details:
        if failure.result_type != ResultType.STARTTLS_NOT_SUPPORTED:  # never the correction of a success
            taken = min(left[failure], sessions)
            left[failure] -= taken
            sessions -= taken
    return left


def _counted(details: dict[FailureDetail, int]) -> tuple[FailureDetail, ...]:
    ordered = sorted(details.items(), key=lambda item: -item[1])
    return tuple(
        msgspec.structs.replace(failure, failed_session_count=_bounded(count))
        for failure, count in ordered
        if count > 0
    )


def _bounded(count: int) -> int:
    return min(max(count, 0), MAX_COUNT)


def day_of(seconds: float) -> date:
    """The UTC day of a time in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).date()
