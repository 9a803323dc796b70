"""Lists of reports, and one report with what belongs to it.

A list is paged by the id of its last row, never by a number of rows to skip: the thousandth page costs what
the first costs.
"""

from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum

import msgspec
from django.db.models import QuerySet
from django.db.models.functions import Left

from mailward.core.tlsrpt import schema
from mailward.core.tlsrpt.deviations import Deviation
from mailward.core.tlsrpt.routing import Address, route
from mailward.store.models import Domain, Receipt, Report, Trust
from mailward.store.packed import unpack
from mailward.store.scope import Scope

PAGE_ROWS = 50
MOST_COUNTED = 100
"""Counts beside the tabs stop here: "100 or more"."""
MOST_NAMED = 2_000
"""So many reports are looked at whose id begins as asked; whoever looks for one writes more of it."""
_MOST_SIBLINGS = 20
FOREIGN_KEY = 0
"""`Report.domain_key` of a foreign report."""


class Tab(StrEnum):
    COUNTED = "counted"
    NOT_COUNTED = "not-counted"
    """About one of our domains, and in no figure: nobody vouches for them."""
    FOREIGN = "foreign"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list shows. Texts match as they are, `report_id` by its beginning."""

    tab: Tab = Tab.COUNTED
    domain: Domain | None = None
    trust: Trust | None = None
    reporter: str = ""
    report_id: str = ""
    failed_only: bool = False

    @property
    def is_narrowed(self) -> bool:
        return bool(self.trust or self.reporter or self.report_id or self.failed_only)


@dataclass(frozen=True, slots=True)
class ReportRow:
    id: int
    day: date | None
    start: datetime | None
    end: datetime | None
    received_at: datetime
    reporter: str
    organization_name: str
    report_id: str
    domain: str | None
    """None: foreign."""
    policy_domains: str
    ok: int | None
    failed: int | None
    """Of the policy type with the most sessions; None: not said."""
    trust: str
    counted: bool
    door: str
    copies: int

    @property
    def sessions(self) -> int:
        return (self.ok or 0) + (self.failed or 0)


@dataclass(frozen=True, slots=True)
class ReportPage:
    rows: tuple[ReportRow, ...]
    older: int | None
    """The id that older reports come before; None: these are the oldest."""
    newer: int | None
    """The id that newer reports come after; None: these are the newest."""


@dataclass(frozen=True, slots=True)
class TabCounts:
    """At most MOST_COUNTED each."""

    not_counted: int
    foreign: int


@dataclass(frozen=True, slots=True)
class ReportDetail:
    row: Report
    """With domain, address_domain, imported_by and raw."""
    report: schema.Report
    deviations: tuple[Deviation, ...]
    own: tuple[int, ...]
    """Places in `report.policies` that are about the domain of the row; none where it is foreign."""
    receipts: tuple[Receipt, ...]
    """Later copies, the first of them."""
    siblings: tuple[ReportRow, ...]
    """Others with the same report id for the same domain: their content differs."""


_NAMES = tuple(field.name for field in fields(ReportRow))
_COLUMNS = tuple("domain__name" if name == "domain" else name for name in _NAMES)


def list_reports(
    scope: Scope,
    filters: Filters,
    *,
    before: int | None = None,
    after: int | None = None,
    rows: int = PAGE_ROWS,
) -> ReportPage:
    """The newest first: at most `rows` that came `before` an id, or those next `after` one."""
    found = _filtered(scope, filters)
    # one more than is shown tells whether there is another page
    if after is not None:
        shown = _rows(found.filter(id__gt=after).order_by("id")[: rows + 1])
        has_newer, has_older = len(shown) > rows, True
        shown = shown[:rows][::-1]
    else:
        if before is not None:
            found = found.filter(id__lt=before)
        shown = _rows(found.order_by("-id")[: rows + 1])
        has_newer, has_older = before is not None, len(shown) > rows
        shown = shown[:rows]
    return ReportPage(
        shown,
        older=shown[-1].id if shown and has_older else None,
        newer=shown[0].id if shown and has_newer else None,
    )


def count_tabs(scope: Scope, domain: Domain | None = None) -> TabCounts:
    not_counted = _of_tab(scope, Tab.NOT_COUNTED, domain)
    foreign = _of_tab(scope, Tab.FOREIGN, domain)
    return TabCounts(not_counted[:MOST_COUNTED].count(), foreign[:MOST_COUNTED].count())


def find_report(scope: Scope, report_id: int) -> ReportDetail | None:
    """None: there is none such for this person."""
    found = scope.reports().select_related("domain", "address_domain", "imported_by", "raw")
    row = found.filter(pk=report_id).first()
    if row is None:
        return None
    report = msgspec.json.decode(unpack(bytes(row.parsed)), type=schema.Report)
    return ReportDetail(
        row=row,
        report=report,
        deviations=tuple(msgspec.json.decode(unpack(bytes(row.deviations)), type=list[Deviation])),
        own=_own_policies(row, report),
        receipts=tuple(scope.receipts().filter(report=row).order_by("received_at")),
        siblings=_siblings(scope, row),
    )


def _own_policies(row: Report, report: schema.Report) -> tuple[int, ...]:
    if row.domain is None:
        return ()
    # routed as when it came; other domains of an organisation's address have reports of their own
    address = Address({row.domain.name}, row.address_domain.name if row.address_domain else None)
    shares = route(report, address, row.tls_report_domain or None)
    return tuple(place for share in shares if share.domain == row.domain.name for place in share.policies)


def _siblings(scope: Scope, row: Report) -> tuple[ReportRow, ...]:
    if not row.report_id:
        return ()
    same = scope.reports().filter(report_id=row.report_id, domain_key=row.domain_key).exclude(pk=row.pk)
    return _rows(same.order_by("-id")[:_MOST_SIBLINGS])


def _filtered(scope: Scope, filters: Filters) -> QuerySet[Report]:
    found = _of_tab(scope, filters.tab, filters.domain)
    if filters.trust:
        found = found.filter(trust=filters.trust)
    if filters.reporter:
        found = found.filter(reporter=filters.reporter)
    if filters.failed_only:
        found = found.filter(failed__gt=0)
    return _named(scope, found, filters) if filters.report_id else found


def _named(scope: Scope, found: QuerySet[Report], filters: Filters) -> QuerySet[Report]:
    """Those whose report id begins so: of one domain all, of the organisation the first MOST_NAMED by id."""
    prefix = filters.report_id
    if filters.domain is not None:
        # no index on the id is to be used here: it would read those of all domains
        return found.alias(head=Left("report_id", len(prefix))).filter(head=prefix)
    # a range, not LIKE: an index answers it. Two million that begin with "2026" are not sorted for one page
    named = scope.reports().filter(report_id__gte=prefix, report_id__lt=f"{prefix}\U0010ffff")
    return found.filter(pk__in=list(named.order_by("report_id").values_list("pk", flat=True)[:MOST_NAMED]))


def _of_tab(scope: Scope, tab: Tab, domain: Domain | None) -> QuerySet[Report]:
    reports = scope.reports()
    if tab is Tab.FOREIGN:
        foreign = reports.filter(domain_key=FOREIGN_KEY)
        return foreign.filter(address_domain=domain) if domain else foreign
    if domain is not None:
        reports = reports.filter(domain_key=domain.pk)
    if tab is Tab.COUNTED:
        return reports.filter(counted=True)
    if tab is Tab.NOT_COUNTED:
        reports = reports.filter(counted=False)
        return reports if domain else reports.filter(domain__isnull=False)
    return reports


def _rows(found: QuerySet[Report]) -> tuple[ReportRow, ...]:
    # not a model each: the typed report and its deviations stay where they are
    values = found.values_list(*_COLUMNS)
    return tuple(ReportRow(*row) for row in values)
