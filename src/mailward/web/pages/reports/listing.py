"""Lists of reports: of the organisation, and of one domain."""

from dataclasses import replace

from django.http import HttpResponse
from django.shortcuts import render

from mailward.store.models import Domain, Trust
from mailward.store.queries.reports import MOST_COUNTED, Filters, Tab, count_tabs, list_reports
from mailward.web.access import ScopedRequest, find_domain, reader_page
from mailward.web.querystring import read_choice, read_number, read_text

_MAX_REPORT_ID = 500
_MAX_NAME = 253
_WITH_TRUST = (Tab.NOT_COUNTED, Tab.FOREIGN)


@reader_page
def report_list(request: ScopedRequest) -> HttpResponse:
    filters, name = _read_filters(request), read_text(request, "domain", _MAX_NAME).lower()
    domain = request.scope.domains().filter(name=name).first() if name else None
    context: dict[str, object] = {"domain_wanted": name}
    if name and domain is None:
        context["unknown_domain"] = True
    return _render(request, replace(filters, domain=domain), context)


@reader_page
def domain_reports(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    return _render(
        request, replace(_read_filters(request), domain=domain), {"tab": "reports", "domain": domain}
    )


def _read_filters(request: ScopedRequest) -> Filters:
    tab, trust = read_choice(request, "show", Tab.COUNTED), read_text(request, "trust", 20)
    return Filters(
        tab=tab,
        # where nearly all are verified, looking for what is not would read them all
        trust=Trust(trust) if tab in _WITH_TRUST and trust in Trust.values else None,
        reporter=read_text(request, "reporter", _MAX_NAME),
        report_id=read_text(request, "id", _MAX_REPORT_ID),
        failed_only=request.GET.get("failed") == "1",
    )


def _render(request: ScopedRequest, filters: Filters, context: dict[str, object]) -> HttpResponse:
    before, after = read_number(request, "before"), read_number(request, "after")
    page = None
    if not context.get("unknown_domain"):
        page = list_reports(request.scope, filters, before=before, after=after)
    counts = count_tabs(request.scope, filters.domain)
    context |= {
        "page": page,
        "filters": filters,
        "tabs": _tabs(counts.not_counted, counts.foreign),
        "trusts": Trust.choices if filters.tab in _WITH_TRUST else (),
        "is_first": before is None and after is None,
        "has_domains": _has_domains(request, filters.domain),
    }
    return render(request, "reports/list.html", context)


def _has_domains(request: ScopedRequest, domain: Domain | None) -> bool:
    return domain is not None or request.scope.domains().exists()


def _tabs(not_counted: int, foreign: int) -> list[tuple[Tab, str, str]]:
    """Value, label, and how many there are, as far as that is told."""
    return [
        (Tab.COUNTED, "Counted", ""),
        (Tab.NOT_COUNTED, "Not counted", _say(not_counted)),
        (Tab.FOREIGN, "Foreign", _say(foreign)),
        (Tab.ALL, "All", ""),
    ]


def _say(number: int) -> str:
    if not number:
        return ""
    return str(number) if number < MOST_COUNTED else f"{MOST_COUNTED - 1}+"
