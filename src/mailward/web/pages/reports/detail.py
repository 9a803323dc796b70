"""One report: the readable document, what is known of its arrival, and the bytes as they came."""

import io
from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.safestring import mark_safe

from mailward.core.tlsrpt.document import Document, build_document
from mailward.core.tlsrpt.write import serialise_report
from mailward.render.csv import write_head, write_report
from mailward.render.html import render_document, render_page
from mailward.store.models import Door, Receipt
from mailward.store.packed import unpack
from mailward.store.queries.reports import ReportDetail, ReportRow, find_report
from mailward.store.services.whose import DOUBT
from mailward.web.access import ScopedRequest, reader_page
from mailward.web.download import attachment, raw_extension
from mailward.web.pages.reports.original import show_original
from mailward.web.pages.reports.trust import badge_of, describe_trust, note_names


@dataclass(frozen=True, slots=True)
class Copy:
    """A later copy of the report, with its trust in words."""

    receipt: Receipt
    badge: str
    trust: str


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another report under the same id, with its trust in words."""

    row: ReportRow
    badge: str
    trust: str


@reader_page
def report_detail(request: ScopedRequest, report_id: int) -> HttpResponse:
    detail = _find(request, report_id)
    row = detail.row
    content = bytes(row.raw.content)
    context = {
        "detail": detail,
        "row": row,
        # escaped by the renderer, piece by piece
        "document": mark_safe(render_document(_document(detail), heading_level=1)),  # noqa: S308
        "trust": describe_trust(row),
        "doubt": DOUBT if row.dkim_detail.startswith(DOUBT) else "",
        "names_note": note_names(row, detail.report.contact_info),
        "original": show_original(content, report_id=row.report_id, parsed=unpack(bytes(row.parsed))),
        "size": len(content),
        "copies": [Copy(receipt, *badge_of(receipt.trust)) for receipt in detail.receipts],
        "copies_left_out": row.copies - 1 - len(detail.receipts),
        "siblings": [Sibling(each, *badge_of(each.trust)) for each in detail.siblings],
        "is_foreign": row.domain is None,
    }
    return render(request, "reports/detail.html", context)


@reader_page
def report_raw(request: ScopedRequest, report_id: int) -> HttpResponse:
    """The bytes as they came through the door."""
    row = _find(request, report_id).row
    content = bytes(row.raw.content)
    extension = raw_extension(content, is_mail=row.door == Door.SMTP)
    return attachment(content, row.raw.name or f"report-{row.pk}.{extension}")


@reader_page
def report_export(request: ScopedRequest, report_id: int, form: str) -> HttpResponse:
    """The report as it was read: `json`, `csv`, or `html` that stands alone and prints well."""
    detail = _find(request, report_id)
    name, domain = f"report-{report_id}", detail.row.domain.name if detail.row.domain else None
    if form == "json":
        return attachment(serialise_report(detail.report), f"{name}.json", "application/json")
    if form == "csv":
        table = io.StringIO(newline="")
        write_head(table)
        write_report(table, name, detail.report, domain=domain)
        return attachment(table.getvalue(), f"{name}.csv", "text/csv; charset=utf-8")
    if form == "html":
        document = _document(detail)
        page = render_page([document], title=document.title)
        return attachment(page, f"{name}.html", "text/html; charset=utf-8")
    raise Http404


def _find(request: ScopedRequest, report_id: int) -> ReportDetail:
    detail = find_report(request.scope, report_id)
    if detail is None:
        raise Http404
    return detail


def _document(detail: ReportDetail) -> Document:
    row = detail.row
    if row.domain is not None:
        return build_document(detail.report, detail.deviations, domain=row.domain.name, own=detail.own)
    # foreign as a whole: read as a report about whomever it is about; the page says that it is not yours
    return build_document(detail.report, detail.deviations)
