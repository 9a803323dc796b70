"""The checks of one domain of the platform."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from mailward.core.explain.explanation import Severity
from mailward.core.explain.problem import explain_problem
from mailward.core.watch.standing import ENOUGH
from mailward.net import clock
from mailward.render.visible import make_visible
from mailward.store.models import AskedLook, Check, Domain, Watch
from mailward.store.queries import checks
from mailward.store.queries.checks import StatePage, StateRow
from mailward.store.services import mxlooks, watching
from mailward.web.access import ScopedRequest, find_domain, reader_page, writer_page
from mailward.web.pages.checks.shown import differ, finding_lines, seen_lines, show, verdict_lines
from mailward.web.querystring import read_number

_MOST_PAGES = 10**6


@dataclass(frozen=True, slots=True)
class Entry:
    """One state, in the timeline."""

    row: StateRow
    changes: tuple[str, ...]
    """Made visible."""
    counts: str
    """How many findings, in words."""
    is_first: bool
    asks: tuple[str, ...] = ()
    """Who asked for a look while it was so, the latest first."""


@reader_page
def domain_checks(request: ScopedRequest, name: str) -> HttpResponse:
    domain, scope = find_domain(request, name), request.scope
    watch = checks.watch_of(scope, domain.pk)
    page = checks.states_of(scope, domain.pk, read_number(request, "page", most=_MOST_PAGES) or 1)
    context: dict[str, object] = {
        "domain": domain,
        "tab": "checks",
        "watch": watch,
        "is_under_way": watching.is_under_way(domain.pk),
        "is_enabled": settings.MAILWARD.watch.enabled,
        "page": page,
        "entries": _entries(page, checks.asked_looks(scope, domain.pk, page)),
        "may_look_deeply": watching.may_look_deeply(domain),
        "deep_days": settings.MAILWARD.watch.deep_days,
        "blocked": sorted(mxlooks.blocked_families().items()),
        "trouble": mxlooks.introduction_trouble() if scope.may_write else "",
    }
    if watch is not None and watch.current is not None:
        context["shown"] = _show_current(request, domain, watch, watch.current)
        context["pending"] = _pending(request, domain)
        context["deep_at"] = checks.deep_at(watch.current)
    return render(request, "checks/domain.html", context)


@reader_page
def domain_checks_one(request: ScopedRequest, name: str, check_id: int) -> HttpResponse:
    """What the domain was like, judged as of then by the rules of today."""
    domain = find_domain(request, name)
    check = _find(request, domain, check_id)
    report = checks.report_of(check, None, settings.MAILWARD.watch.certificate_days)
    context = {
        "domain": domain,
        "tab": "checks",
        "check": check,
        "shown": show(report),
        "before": checks.state_before(request.scope, domain.pk, check.pk),
    }
    return render(request, "checks/state.html", context)


@reader_page
def domain_checks_compare(request: ScopedRequest, name: str) -> HttpResponse:
    """What is different between two states: `from` and `to` are their ids."""
    domain = find_domain(request, name)
    pair = [_find(request, domain, read_number(request, which) or 0) for which in ("from", "to")]
    before, after = sorted(pair, key=lambda check: check.pk)
    lead = settings.MAILWARD.watch.certificate_days
    old, new = (checks.report_of(check, None, lead) for check in (before, after))
    parts = [
        (title, differ(lines(old), lines(new)))
        for title, lines in (
            ("What senders do", verdict_lines),
            ("Findings", finding_lines),
            ("What was seen", seen_lines),
        )
    ]
    context = {
        "domain": domain,
        "tab": "checks",
        "before": before,
        "after": after,
        "parts": parts,
        "is_same": not any(diff for _, diff in parts),
    }
    return render(request, "checks/compare.html", context)


@writer_page
@require_POST
def domain_checks_now(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    is_deep = request.POST.get("depth") == "deep"
    if watching.ask_now(domain.organisation_id, domain.pk, request.scope.user_id, is_deep=is_deep):
        return redirect("domain-checks", domain.name)
    if not is_deep:
        minutes = int(watching.ASK_PAUSE.total_seconds() // 60)
        messages.info(request, f"It was asked for moments ago: once in {minutes} minutes is the most.")
    elif domain.claim_verified_at is None:
        messages.info(request, "Deep looks are for domains that are proved to be yours.")
    else:
        messages.info(request, "A look was asked for lately: once an hour is the most for deep ones.")
    return redirect("domain-checks", domain.name)


def _pending(request: ScopedRequest, domain: Domain) -> list[tuple[str, str]]:
    """What was seen once, and nobody was told of yet: title and host."""
    rows = request.scope.watch_findings().filter(
        domain=domain, is_open=False, is_baseline=False, seen__lt=ENOUGH
    )
    return [
        (explain_problem(code).title, make_visible(host)) for code, host in rows.values_list("code", "host")
    ]


def _show_current(request: ScopedRequest, domain: Domain, watch: Watch, current: Check) -> object:
    at: datetime = watch.checked_at or clock.now()
    report = checks.report_now(watch, current, at, settings.MAILWARD.watch.certificate_days)
    problems = checks.problems_of_findings(request.scope, domain.pk)
    report = watching.mark_blameless(domain.pk, report, settings.MAILWARD)
    return show(report, problems, watch.unobserved)


def _find(request: ScopedRequest, domain: Domain, check_id: int) -> Check:
    check = checks.check_of(request.scope, domain.pk, check_id)
    if check is None:
        raise Http404
    return check


def _entries(page: StatePage, asked: Sequence[AskedLook]) -> list[Entry]:
    last = page.number == page.pages
    asks: dict[int, list[str]] = {}
    for each in asked:
        row = next((row for row in page.rows if row.first_at <= each.asked_at), None)
        if row is not None:
            who = make_visible(each.user.email) if each.user else "Somebody who is gone"
            what = "a deep look" if each.is_deep else "a check"
            asks.setdefault(row.id, []).append(
                f"{who} asked for {what} on {each.asked_at:%-d %b %Y, %H:%M} UTC."
            )
    return [
        Entry(
            replace(row, changes=()),
            tuple(make_visible(str(change)) for change in row.changes),
            _count(row),
            last and at == len(page.rows) - 1,
            tuple(asks.get(row.id, ())),
        )
        for at, row in enumerate(page.rows)
    ]


def _count(row: StateRow) -> str:
    words = []
    for severity in Severity:
        if count := row.counts.get(severity):
            plural = "" if count == 1 or severity is Severity.CRITICAL else "s"
            words.append(f"{count} {severity}{plural}")
    return ", ".join(words) or "no findings"
