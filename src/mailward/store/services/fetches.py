"""Booking what policy hosts counted."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, F

from mailward.net import clock
from mailward.store.models import DailyFetches, Domain
from mailward.store.queries.evidence import chunks

MAX_ROWS_A_DAY = 500
_SWEPT_AT_ONCE = 200
"""Domains a transaction."""


@dataclass(frozen=True, slots=True)
class FetchCount:
    """What one policy host adds to one row of DailyFetches."""

    domain: str
    """The policy domain."""
    day: date
    fetcher: str
    agent: str
    network: str
    status: int
    fetches: int
    first_at: datetime
    last_at: datetime


@transaction.atomic
def book_fetches(counts: Sequence[FetchCount]) -> int:
    """Add a batch; how many rows it touched. Counts of domains that are not hosted (any more) are dropped.

    A domain has at most MAX_ROWS_A_DAY rows a day with agent and network; what else comes is added without.
    """
    owners = _owners({count.domain for count in counts})
    crowded = _crowded(owners.values(), {count.day for count in counts})
    adapt_day, adapt_time = connection.ops.adapt_datefield_value, connection.ops.adapt_datetimefield_value
    rows = [
        (
            *owners[count.domain],
            adapt_day(count.day),
            count.fetcher,
            *(("", "") if (owners[count.domain][1], count.day) in crowded else (count.agent, count.network)),
            count.status,
            count.fetches,
            adapt_time(count.first_at),
            adapt_time(count.last_at),
        )
        for count in counts
        if count.domain in owners
    ]
    # in the order of the key: two hosts that touch the same rows lock them in the same order
    rows.sort(key=lambda row: row[1:7])
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(_ADD, rows)
    return len(rows)


def _crowded(owners: Iterable[tuple[int, int]], days: Collection[date]) -> set[tuple[int, date]]:
    """The domains, with their days, that have all the rows that they may."""
    found: set[tuple[int, date]] = set()
    for chunk in chunks(sorted(domain for _, domain in owners)):
        rows = DailyFetches.objects.filter(domain_id__in=chunk, day__in=days).values_list("domain_id", "day")
        counted = rows.annotate(rows=Count("status")).filter(rows__gte=MAX_ROWS_A_DAY).order_by()
        found.update((domain, day) for domain, day, _ in counted)
    return found


def _owners(names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Policy domain -> organisation and domain; where several claim it, the one who proved it."""
    owners = {}
    for chunk in chunks(sorted(names)):
        rows = Domain.objects.filter(name__in=chunk, current_version__isnull=False)
        # the proved claim comes last and stays
        rows = rows.order_by(F("claim_verified_at").asc(nulls_first=True))
        for name, organisation, domain in rows.values_list("name", "organisation_id", "pk"):
            owners[name] = organisation, domain
    return owners


@transaction.atomic
def sweep_fetches(keep_days: int) -> bool:
    """Throw away counts of days that ended so long ago, of some domains; whether there may be more."""
    old = DailyFetches.objects.filter(day__lt=clock.today() - timedelta(days=keep_days))
    domains = list(old.order_by("domain_id").values_list("domain_id", flat=True).distinct()[:_SWEPT_AT_ONCE])
    if domains:
        old.filter(domain_id__in=domains).delete()
    return len(domains) == _SWEPT_AT_ONCE


_ADD = """
INSERT INTO store_dailyfetches
    (organisation_id, domain_id, day, fetcher, agent, network, status, fetches, first_at, last_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (domain_id, day, fetcher, agent, network, status) DO UPDATE SET
    fetches = store_dailyfetches.fetches + excluded.fetches,
    first_at = CASE WHEN excluded.first_at < store_dailyfetches.first_at
        THEN excluded.first_at ELSE store_dailyfetches.first_at END,
    last_at = CASE WHEN excluded.last_at > store_dailyfetches.last_at
        THEN excluded.last_at ELSE store_dailyfetches.last_at END
"""
