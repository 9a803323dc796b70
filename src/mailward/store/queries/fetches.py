"""Who fetched a domain's policy: evidence that senders know it. Names are claims: see mailward.core.fetchers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    Max,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Sum,
)

from mailward.core.fetchers import FETCHERS
from mailward.store.models import DailyFetches
from mailward.store.queries.daily import MAX_ROWS, Top
from mailward.store.scope import Scope

FETCHED = (200, 304)
"""The statuses of answers that gave the policy."""
WEEK, MONTH = timedelta(days=7), timedelta(days=30)

_OURS = "mailward"
_TOOLS = tuple(fetcher.slug for fetcher in FETCHERS if not fetcher.sends_mail)


@dataclass(frozen=True, slots=True)
class FetchTotals:
    """Of one domain, by clients that may send mail."""

    fetches: int
    senders: int
    """How many fetchers or programs of different names."""
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class FetcherRow:
    """One name under which a domain's policy was fetched."""

    fetcher: str
    """The slug of mailward.core.fetchers; empty: unknown."""
    agent: str
    """The product that unknown ones name; empty for known ones, or where none was named."""
    week: int
    """Fetches of the last 7 UTC days, today included."""
    month: int
    """Of the last 30."""
    networks: int
    """From so many /24 or /48."""
    refused: int
    """Requests of the last 30 days that were not answered with the policy."""
    first_at: datetime
    last_at: datetime


def fetch_totals(domain_ids: Sequence[int], since: date) -> dict[int, FetchTotals]:
    """Per domain, from the UTC day `since` on; domains that nobody fetched are not there.

    For work that knows its domains; a page asks for those of its scope alone.
    """
    rows = DailyFetches.objects.filter(domain_id__in=domain_ids, day__gte=since, status__in=FETCHED)
    found = (
        rows.exclude(fetcher__in=_TOOLS)
        .exclude(_is_nameless_probe())
        .values("domain_id", "fetcher", "agent")
        .annotate(fetched=Sum("fetches"), first=Min("first_at"), last=Max("last_at"))
        .order_by("domain_id")
    )
    totals: dict[int, FetchTotals] = {}
    names: dict[int, set[str]] = {}
    for row in found:
        domain = row["domain_id"]
        # one fetcher may come under several products
        names.setdefault(domain, set()).add(row["fetcher"] or f" {row['agent']}")
        held = totals.get(domain)
        totals[domain] = FetchTotals(
            row["fetched"] + (held.fetches if held else 0),
            len(names[domain]),
            min(row["first"], held.first_at) if held else row["first"],
            max(row["last"], held.last_at) if held else row["last"],
        )
    return totals


def _is_nameless_probe() -> Q:
    """Each of our looks fetches once more without a name (net.fetch.Client.BARE), as some senders do: who names no
    program in a network where a Mailward looks from is no evidence of a sender.
    """
    looks = DailyFetches.objects.filter(
        domain=OuterRef("domain"), fetcher=_OURS, network=OuterRef("network")
    ).exclude(network="")
    return Q(Exists(looks), fetcher="", agent="")


def fetchers(scope: Scope, domain_id: int, today: date) -> Top[FetcherRow]:
    """Everybody who asked for the domain's policy in the last 30 days, the most frequent first."""
    rows: QuerySet[DailyFetches] = scope.daily_fetches().filter(domain_id=domain_id, day__gt=today - MONTH)
    given, late = Q(status__in=FETCHED), Q(day__gt=today - WEEK)
    found = (
        rows.annotate(is_ours=ExpressionWrapper(_is_nameless_probe(), BooleanField()))
        .values("fetcher", "agent", "is_ours")
        .annotate(
            week=Sum("fetches", filter=given & late, default=0),
            month=Sum("fetches", filter=given, default=0),
            all=Sum("fetches"),
            networks=Count("network", distinct=True),
            first=Min("first_at"),
            last=Max("last_at"),
        )
        .order_by("-month", "-all", "fetcher", "agent")
    )
    merged: dict[tuple[str, str], FetcherRow] = {}
    for row in found:
        fetcher = _OURS if row["is_ours"] else row["fetcher"]
        key = (fetcher, "" if fetcher else row["agent"])
        held = merged.get(key)
        merged[key] = FetcherRow(
            *key,
            week=row["week"] + (held.week if held else 0),
            month=row["month"] + (held.month if held else 0),
            networks=max(row["networks"], held.networks if held else 0),
            refused=row["all"] - row["month"] + (held.refused if held else 0),
            first_at=min(row["first"], held.first_at) if held else row["first"],
            last_at=max(row["last"], held.last_at) if held else row["last"],
        )
    ordered = sorted(merged.values(), key=lambda row: (-row.month, row.fetcher, row.agent))
    return Top(tuple(ordered[:MAX_ROWS]), max(0, len(ordered) - MAX_ROWS))
