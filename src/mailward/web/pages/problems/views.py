"""Problems: what is wrong now, what is over, and one with all that is known of it."""

from dataclasses import dataclass

from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from mailward.core import problems as rules
from mailward.core.explain.catalogue import Explanation
from mailward.core.explain.following import FOLLOWING
from mailward.render.visible import make_visible
from mailward.store.queries.problems import (
    ProblemRow,
    closed_problems,
    held_back,
    open_problems,
    problem,
    reporters_of_problem,
    sighting_of_problem,
)
from mailward.web.access import ScopedRequest, reader_page
from mailward.web.pages.problems.cause import explain_cause, name_kind, name_sighting, page_of, severity_badge
from mailward.web.querystring import read_number

_MOST_PAGES = 10**9


@dataclass(frozen=True, slots=True)
class Listed:
    row: ProblemRow
    explanation: Explanation
    badge: str


@reader_page
def problem_list(request: ScopedRequest) -> HttpResponse:
    is_closed = request.GET.get("show") == "closed"
    number = read_number(request, "page", most=_MOST_PAGES) or 1
    page = (closed_problems if is_closed else open_problems)(request.scope, number)
    asked = settings.MAILWARD.problems
    context = {
        "page": page,
        "held_back": () if is_closed else held_back(request.scope, asked.window_days, asked.min_sessions),
        "most_alone": rules.MAX_ALONE,
        "problems": [_listed(row) for row in page.rows],
        "is_closed": is_closed,
        "has_domains": bool(page.rows) or request.scope.domains().exists(),
    }
    return render(request, "problems/list.html", context)


@reader_page
def problem_detail(request: ScopedRequest, problem_id: int) -> HttpResponse:
    found = problem(request.scope, problem_id, read_number(request, "page", most=_MOST_PAGES) or 1)
    if found is None:
        raise Http404
    row = found.problem
    domain = found.domains[0].name if found.total == 1 and found.domains else None
    explanation = explain_cause(row.cause, row.host, domain)
    sighting = sighting_of_problem(request.scope, row)
    context = {
        "found": found,
        "row": row,
        "is_held": row.cause in FOLLOWING,
        "domains": [
            (each, reverse(page_of(row.cause, is_checked=each.is_checked), args=[each.name]))
            for each in found.domains
        ],
        "page": {"number": found.page, "pages": found.pages},
        "explanation": explanation,
        "badge": severity_badge(explanation),
        "host_kind": name_kind(row.cause, row.host),
        "sighting": sighting,
        "seen_title": name_sighting(row.cause),
        "seen_on": reverse(page_of(row.cause, is_checked=True), args=[sighting.domain]) if sighting else "",
        "evidence": [make_visible(each) for each in sighting.evidence] if sighting else [],
        "is_reported": row.sessions > 0,
        "reporters": reporters_of_problem(request.scope, row),
    }
    return render(request, "problems/detail.html", context)


def _listed(row: ProblemRow) -> Listed:
    explanation = explain_cause(row.cause, row.host)
    return Listed(row, explanation, severity_badge(explanation))
