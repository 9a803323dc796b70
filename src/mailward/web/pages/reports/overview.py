"""The overview of a domain: the verdict first, then the days, then what failed where and for whom."""

from dataclasses import dataclass
from datetime import date, timedelta

from django.http import HttpResponse
from django.shortcuts import render

from mailward.core.explain.catalogue import Explanation, explain_policy_type, explain_result
from mailward.core.explain.policies import explain_standing
from mailward.core.fetchers import find_fetcher
from mailward.core.tlsrpt.results import POLICY_HOST_RESULTS
from mailward.core.tlsrpt.schema import PolicyType
from mailward.net import clock
from mailward.store.models import Domain
from mailward.store.queries import daily, fetches
from mailward.store.queries.problems import ProblemRow, problems_of_domain
from mailward.store.queries.reports import Filters, ReportRow, Tab, count_tabs, list_reports
from mailward.store.scope import Scope
from mailward.web import chart
from mailward.web.access import ScopedRequest, find_domain, reader_page
from mailward.web.pages.problems.cause import explain_cause, severity_badge
from mailward.web.querystring import FIRST_DAY, read_day, read_number, read_text

CHOICES = (7, 30, 90, 365)
DEFAULT_DAYS = 30
_RECENT = 5

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
class Period:
    """The days shown, and how to move on."""

    window: daily.Window
    days: int
    earlier: date | None
    """The last day of the period before."""
    later: date | None

    @property
    def words(self) -> str:
        return f"In the last {self.days} days" if self.later is None else f"In the {self.days} days shown"


@dataclass(frozen=True, slots=True)
class OpenProblem:
    row: ProblemRow
    explanation: Explanation
    standing: str
    """What it does to mail under the policy served now."""

    @property
    def badge(self) -> str:
        return severity_badge(self.explanation)


@dataclass(frozen=True, slots=True)
class Failure:
    row: daily.ResultRow
    explanation: Explanation
    share: float
    """Percent of the sessions of the policy type."""


@reader_page
def domain_home(request: ScopedRequest, name: str) -> HttpResponse:
    domain, scope = find_domain(request, name), request.scope
    period = _period(request)
    lines = daily.timelines(scope, domain.pk, period.window)
    wanted = read_text(request, "type", 40)
    line = next((line for line in lines if line.policy_type == wanted), None)
    line = line or (lines[0] if lines else None)
    context = {
        "domain": domain,
        "tab": "overview",
        "period": period,
        "choices": CHOICES,
        "window": period.window,
        "lines": [(line.policy_type, policy_name(line.policy_type), line) for line in lines],
        "problems": _problems(scope, domain),
        "recent": _recent(scope, domain),
        "fetchers": _fetchers(scope, domain),
        "not_counted": count_tabs(scope, domain).not_counted,
        "line": line,
    }
    if line is None:
        context["last_day"] = daily.last_reported_day(scope, domain.pk)
    else:
        context |= _figures(scope, domain, line, period)
    return render(request, "reports/overview.html", context)


def policy_name(policy_type: str) -> str:
    """What people call a policy type; unknown ones keep the sender's word."""
    return _NAMES.get(PolicyType(policy_type), policy_type) if policy_type in set(PolicyType) else policy_type


def judge(line: daily.Timeline, when: str) -> Verdict:
    """The figures of one policy type in a sentence that begins with `when`."""
    kind = line.policy_type
    under = _UNDER[PolicyType(kind)] if kind in set(PolicyType) else f"with the policy type “{kind}”"
    seen = f"{when} {line.total:,} session{'' if line.total == 1 else 's'}"
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


def _period(request: ScopedRequest) -> Period:
    today, days = clock.today(), read_number(request, "days", most=CHOICES[-1])
    days = days if days in CHOICES else DEFAULT_DAYS
    last = read_day(request, "end", latest=today) or today
    window = daily.Window.ending(last, days)
    return Period(
        window,
        days,
        earlier=window.first - timedelta(days=1) if window.first > FIRST_DAY else None,
        later=min(last + timedelta(days=days), today) if last < today else None,
    )


def _problems(scope: Scope, domain: Domain) -> list[OpenProblem]:
    mode = domain.current_version.mode if domain.current_version else None
    return [
        OpenProblem(
            row,
            explain_cause(row.cause, row.host, domain.name),
            # of a policy that others serve, the check's own words tell
            explain_standing(row.reported_as or row.result_type, mode) if mode or row.sessions else "",
        )
        for row in problems_of_domain(scope, domain.pk)
    ]


def _recent(scope: Scope, domain: Domain) -> tuple[ReportRow, ...]:
    return list_reports(scope, Filters(tab=Tab.COUNTED, domain=domain), rows=_RECENT).rows


def _fetchers(scope: Scope, domain: Domain) -> daily.Top[tuple[str, fetches.FetcherRow]]:
    """Who asked for the policy that we serve, by the title of who they say they are (empty: unknown)."""
    found = fetches.fetchers(scope, domain.pk, clock.today())
    titled = ((find_fetcher(row.fetcher), row) for row in found.rows)
    return daily.Top(tuple((known.title if known else "", row) for known, row in titled), found.more)


def _figures(scope: Scope, domain: Domain, line: daily.Timeline, period: Period) -> dict[str, object]:
    window = period.window
    found = daily.failures(scope, domain.pk, line.policy_type, window)
    mode = domain.current_version.mode if domain.current_version else None
    return {
        "policy": explain_policy_type(line.policy_type).filled(domain=domain.name),
        "verdict": judge(line, period.words),
        "chart": chart.draw(line),
        "encrypted_percent": floor_percent(100 * line.ok / line.total) if line.total else None,
        "reporters": daily.reporters(scope, domain.pk, line.policy_type, window),
        "failures": found,
        "results": [_failure(row, line, domain, mode) for row in found.results.rows],
    }


def _failure(row: daily.ResultRow, line: daily.Timeline, domain: Domain, mode: str | None) -> Failure:
    explanation = explain_result(row.result_type, policy_type=line.policy_type, mode=mode)
    mx = row.host if row.result_type not in POLICY_HOST_RESULTS else None
    share = 100 * row.sessions / line.total if line.total else 0.0
    return Failure(row, explanation.filled(mx=mx or None, domain=domain.name), share)
