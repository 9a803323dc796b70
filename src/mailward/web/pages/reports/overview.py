"""The overview of a domain: the verdict first, then the days, then what failed where and for whom."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from django.http import HttpResponse
from django.shortcuts import render

from mailward.core.explain.catalogue import Explanation, explain_policy_type, explain_result
from mailward.core.tlsrpt.schema import PolicyType
from mailward.net import clock
from mailward.store.models import Domain
from mailward.store.queries import daily
from mailward.store.queries.problems import ProblemRow, problems_of_domain
from mailward.store.scope import Scope
from mailward.web import chart
from mailward.web.access import ScopedRequest, find_domain, reader_page

CHOICES = (7, 30, 90, 365)
DEFAULT_DAYS = 30

_NAMES = {
    PolicyType.STS: "MTA-STS",
    PolicyType.TLSA: "DANE",
    PolicyType.NO_POLICY_FOUND: "no policy",
}
_UNDER = {
    PolicyType.STS: "under your MTA-STS policy",
    PolicyType.TLSA: "under DANE",
    PolicyType.NO_POLICY_FOUND: "by senders that found no policy",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    state: str
    """The class of its note: ok, warn, bad or unknown."""
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class OpenProblem:
    row: ProblemRow
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Failure:
    row: daily.ResultRow
    explanation: Explanation
    share: float
    """Percent of the sessions of the policy type."""


@reader_page
def domain_home(request: ScopedRequest, name: str) -> HttpResponse:
    domain = find_domain(request, name)
    days, window = _window(request)
    lines = daily.timelines(request.scope, domain.pk, window)
    line = next((line for line in lines if line.policy_type == request.GET.get("type")), None)
    line = line or (lines[0] if lines else None)
    context = {
        "domain": domain,
        "tab": "overview",
        "days": days,
        "choices": CHOICES,
        "window": window,
        "lines": [(line.policy_type, policy_name(line.policy_type), line) for line in lines],
        "problems": _problems(request.scope, domain),
        "line": line,
    }
    if line is None:
        context["last_day"] = daily.last_reported_day(request.scope, domain.pk)
    else:
        context |= _figures(request.scope, domain, line, window)
    return render(request, "reports/overview.html", context)


def policy_name(policy_type: str) -> str:
    """What people call a policy type; unknown ones keep the sender's word."""
    return _NAMES.get(PolicyType(policy_type), policy_type) if policy_type in set(PolicyType) else policy_type


def judge(line: daily.Timeline, days: int) -> Verdict:
    """The figures of one policy type in a sentence."""
    kind = line.policy_type
    under = _UNDER[PolicyType(kind)] if kind in set(PolicyType) else f"with the policy type “{kind}”"
    seen = f"In the last {days} days {line.total:,} session{'' if line.total == 1 else 's'}"
    seen += f" {'was' if line.total == 1 else 'were'} reported {under}"
    if not line.total:
        return Verdict(
            "unknown", "No session was counted", "Reports came, but none held a number of sessions."
        )
    if not line.failed:
        return Verdict("ok", "Every session was encrypted", f"{seen}: all encrypted, none failed.")
    percent = 100 * line.ok / line.total
    shown = "less than 0.1" if percent < 0.1 and line.ok else f"{floor_percent(percent):.1f}"
    title = f"{line.failed:,} of {line.total:,} sessions failed"
    state = "bad" if line.failed / line.total >= 0.01 else "warn"
    return Verdict(state, title, f"{seen}: {shown} % encrypted, {line.failed:,} failed.")


def floor_percent(percent: float) -> float:
    """Rounded down to a tenth: 99.97 is not 100."""
    return int(percent * 10) / 10


def _window(request: ScopedRequest) -> tuple[int, daily.Window]:
    days, last = DEFAULT_DAYS, clock.today()
    with suppress(ValueError):
        wanted = int(request.GET.get("days", "")[:4])
        days = wanted if wanted in CHOICES else DEFAULT_DAYS
    with suppress(ValueError):
        last = min(max(date.fromisoformat(request.GET.get("end", "")[:10]), date(2015, 1, 1)), last)
    return days, daily.Window.ending(last, days)


def _problems(scope: Scope, domain: Domain) -> list[OpenProblem]:
    return [
        OpenProblem(row, explain_result(row.result_type).filled(mx=row.host or None, domain=domain.name))
        for row in problems_of_domain(scope, domain.pk)
    ]


def _figures(scope: Scope, domain: Domain, line: daily.Timeline, window: daily.Window) -> dict[str, object]:
    found = daily.failures(scope, domain.pk, line.policy_type, window) if line.failed else None
    mode = domain.current_version.mode if domain.current_version else None
    return {
        "policy": explain_policy_type(line.policy_type),
        "verdict": judge(line, len(window.days)),
        "chart": chart.draw(line),
        "encrypted_percent": floor_percent(100 * line.ok / line.total) if line.total else None,
        "reporters": daily.reporters(scope, domain.pk, line.policy_type, window),
        "failures": found,
        "results": [_failure(row, line, domain, mode) for row in found.results.rows] if found else [],
    }


def _failure(row: daily.ResultRow, line: daily.Timeline, domain: Domain, mode: str | None) -> Failure:
    explanation = explain_result(row.result_type, policy_type=line.policy_type, mode=mode)
    share = 100 * row.sessions / line.total if line.total else 0.0
    return Failure(row, explanation.filled(mx=row.host or None, domain=domain.name), share)
