"""What a door hands to the store: a reading with its judgement, as far as it goes without the database.

The store writes in one thread, so everything that needs no row is done before: `digest_report` runs
wherever the report was read, in parallel if there is much.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

import msgspec

from mailward.core.tlsrpt.results import POLICY_HOST_RESULTS
from mailward.core.tlsrpt.routing import hosts_in_doubt
from mailward.core.tlsrpt.schema import PolicyResult, Report
from mailward.store.models import Door, Trust

COUNTED_TRUST: Final = frozenset({Trust.VERIFIED, Trust.VOUCHED_RELAY, Trust.VOUCHED_PERSON})
"""Whose reports go into the daily tables."""

TRUST_RANK: Final[Mapping[str, int]] = {
    Trust.TEST: 0,
    Trust.FAILED: 1,
    Trust.UNVERIFIED: 2,
    Trust.PENDING: 3,
    Trust.VOUCHED_PERSON: 4,
    Trust.VOUCHED_RELAY: 5,
    Trust.VERIFIED: 6,
}
"""Of two copies of one report, the one with the higher rank wins."""

MAX_COUNT = 10**12
"""Beyond any day's sessions of one sender; keeps sums of made-up numbers inside 63 bits."""
MAX_ADDRESSES_A_REPORT = 1_000
MAX_HOSTS_A_REPORT = 200
MAX_CAUSES_A_REPORT = 2_000
"""All of these together: rows that one report can add."""
MAX_RESULTS_A_REPORT = 20
"""IANA knows 11. Each becomes a problem of its own, so a report must not invent as many as it likes."""
MAX_KINDS_A_REPORT = 10
"""Policy types; the RFC knows 3."""

_Cause = tuple[str, str, str, str]
"""Policy type, result type, host, sending address."""


class _Value(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Values without references to each other: never a cycle, and cheap to hand to another process."""


class Judgement(_Value, frozen=True):
    """Who vouches for what arrived."""

    trust: Trust
    dkim: str = ""
    """A mailward.core.dkim.Result value; "" where the door has none."""
    detail: str = ""
    signer: str = ""
    """The domain that vouches for it."""
    says_whose: bool = False
    """Whether what vouches for it covers where the report belongs too, not only what it says."""


class OwnedShare(NamedTuple):
    """The part of a report that is about one of our domains; `domain_id` None: foreign."""

    domain_id: int | None
    domain_name: str
    policies: tuple[int, ...]
    """Places in `Report.policies`."""


class ShareDigest(_Value, frozen=True):
    """A share as it is counted."""

    domain_id: int | None
    ok: int | None
    failed: int | None
    """Sessions of the policy type that has the most."""
    sessions: tuple[tuple[str, int, int], ...]
    """Policy type, successful, failed; only where the sender gave a number."""
    failures: tuple[tuple[str, str, str, str, int], ...]
    """Policy type, result type, host, sending address, sessions."""
    hosts_in_doubt: frozenset[str] = frozenset()
    """See core.tlsrpt.routing.hosts_in_doubt."""


class ReportDigest(_Value, frozen=True):
    """A report as it is stored."""

    content_hash: bytes
    parsed: bytes
    """The report as JSON, packed."""
    deviations: bytes
    """The deviations as JSON, packed."""
    organization_name: str
    contact_domain: str
    report_id: str
    day: date | None
    start: datetime | None
    end: datetime | None
    policy_domains: str
    shares: tuple[ShareDigest, ...]

    @property
    def claimed_reporter(self) -> str:
        """Who the report says it is from."""
        return self.contact_domain or self.organization_name[:253]


class Incoming(_Value, frozen=True, kw_only=True):
    """One arrival: the bytes, the reports read from them, and why what else they hold could not be read."""

    organisation_id: int
    address_domain_id: int | None
    door: Door
    content: bytes
    received_at: datetime
    judgement: Judgement
    reports: tuple[ReportDigest, ...] = ()
    unreadable: tuple[str, str] | None = None
    """Code and detail: of all of it, or beside `reports` of a part of it."""
    name: str = ""
    imported_by: int | None = None
    tls_report_domain: str = ""
    test_domain_id: int | None = None
    """The domain whose test report this is."""
    from_relay: bool = False
    """It came from a relay of ours."""


def size_of(incoming: Incoming) -> int:
    """About how many bytes the database will take for it: each domain's row holds the whole report."""
    read = ((len(each.parsed) + len(each.deviations)) * len(each.shares) for each in incoming.reports)
    return len(incoming.content) + sum(read)


class Stored(_Value, frozen=True):
    """What became of an arrival, once it is committed."""

    new: int = 0
    """Reports that we did not have."""
    copies: int = 0
    """Reports that we had."""
    report_ids: tuple[int, ...] = ()
    """The rows of both, in the order of the reports and their shares."""
    quarantine_id: int | None = None
    """Set where it, or a part of it, cannot be read."""
    refused: str = ""
    """Why it could not be stored although the database works; nothing of it was."""


def clean(text: str | None, size: int) -> str:
    """Text that any database takes: no NUL, no lone surrogate, at most `size` characters."""
    if not text:
        return ""
    if text.isascii():
        if len(text) <= size and "\0" not in text:
            return text
    else:
        text = text[:size].encode("utf-8", "replace").decode()
    return text.replace("\0", "")[:size]


def digest_report(
    report: Report, content_hash: bytes, parsed: bytes, deviations: bytes, shares: Iterable[OwnedShare]
) -> ReportDigest:
    """What the store needs of a report. Bounded, and fit for any column whatever the report holds."""
    contact = (report.contact_info or "").rpartition("@")[2].strip(" <>").lower()
    names = dict.fromkeys(clean(result.policy.policy_domain, 253) for result in report.policies[:100])
    return ReportDigest(
        content_hash=content_hash,
        parsed=parsed,
        deviations=deviations,
        organization_name=clean(report.organization_name, 255),
        contact_domain=clean(contact, 253) if "." in contact else "",
        report_id=clean(report.report_id, 500),
        day=report.day_utc,
        start=report.date_range.start_datetime,
        end=report.date_range.end_datetime,
        policy_domains=" ".join(filter(None, names))[:1000],
        shares=tuple(_digest_share(report, share) for share in shares),
    )


def _digest_share(report: Report, share: OwnedShare) -> ShareDigest:
    counts: dict[str, tuple[int | None, int | None]] = {}
    failures: dict[_Cause, int] = {}
    kinds: set[str] = set()
    policy_host = f"mta-sts.{share.domain_name}"
    for place in share.policies:
        result = report.policies[place]
        kind = _known(clean(result.policy.policy_type, 40), kinds, MAX_KINDS_A_REPORT)
        summary = result.summary
        ok, failed = counts.get(kind, (None, None))
        counts[kind] = (
            _add(ok, summary.total_successful_session_count),
            _add(failed, summary.total_failure_session_count),
        )
        if result.failure_details:
            _gather_failures(result, kind, policy_host, failures)
    if len(failures) > MAX_RESULTS_A_REPORT and (
        len(failures) > MAX_HOSTS_A_REPORT or len({name for _, name, _, _ in failures}) > MAX_RESULTS_A_REPORT
    ):
        failures = _fold(failures)
    # types overlap, so the list of reports shows the largest, never a sum over them
    largest = max(counts.values(), key=_size, default=(None, None)) if len(counts) != 1 else counts[kind]
    sessions = [
        (kind, ok or 0, failed or 0)
        for kind, (ok, failed) in counts.items()
        if ok is not None or failed is not None
    ]
    return ShareDigest(
        share.domain_id,
        *largest,
        tuple(sessions),
        tuple([(*cause, number) for cause, number in failures.items()]) if failures else (),
        frozenset() if share.domain_id is None else hosts_in_doubt(report, share.domain_name, share.policies),
    )


def _size(pair: tuple[int | None, int | None]) -> int:
    return (pair[0] or 0) + (pair[1] or 0)


def _gather_failures(result: PolicyResult, kind: str, policy_host: str, failures: dict[_Cause, int]) -> None:
    for detail in result.failure_details:
        number = detail.failed_session_count
        if number is None or number <= 0:
            continue
        name = detail.result_type or ""
        host = detail.receiving_mx_hostname or ""
        address = detail.sending_mta_ip or ""
        if not _is_clean(name, host, address):
            name, host, address = clean(name, 60), clean(host, 253), clean(address, 45)
        cause = (kind, name, policy_host if name in POLICY_HOST_RESULTS else host, address)
        failures[cause] = failures.get(cause, 0) + min(number, MAX_COUNT)


def _is_clean(name: str, host: str, address: str) -> bool:
    """Whether `clean` would leave all three as they are; asked together, in a third of the time."""
    together = name + host + address
    return (
        together.isascii()
        and "\0" not in together
        and len(name) <= 60
        and len(host) <= 253
        and len(address) <= 45
    )


def _fold(failures: dict[_Cause, int]) -> dict[_Cause, int]:
    """Keep what one report can spread over rows bounded: what is beyond the limits becomes ""."""
    results: set[str] = set()
    hosts: set[str] = set()
    addresses: set[str] = set()
    folded: dict[_Cause, int] = {}
    for (kind, name, host, address), number in failures.items():
        name = _known(name, results, MAX_RESULTS_A_REPORT)
        host = _known(host, hosts, MAX_HOSTS_A_REPORT)
        cause = (kind, name, host, _known(address, addresses, MAX_ADDRESSES_A_REPORT))
        if len(folded) >= MAX_CAUSES_A_REPORT and cause not in folded:
            cause = (kind, name, "", "")
        folded[cause] = folded.get(cause, 0) + number
    return folded


def _known(value: str, seen: set[str], limit: int) -> str:
    if value not in seen:
        if len(seen) >= limit:
            return ""
        seen.add(value)
    return value


def _add(total: int | None, value: int | None) -> int | None:
    if value is None or value < 0:
        return total
    return min((total or 0) + value, MAX_COUNT)
