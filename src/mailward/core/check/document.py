"""A report as a document for programs: the form of `mailward check --json`. docs/check.md describes each field.

Fields are added, never renamed or removed, while FORMAT stays the same.
"""

from mailward.core.check.facts import Facts
from mailward.core.check.factsdocument import Json, build_facts
from mailward.core.check.finding import Finding
from mailward.core.check.history import History
from mailward.core.check.rehearsal import Rehearsed, Row
from mailward.core.check.run import Report
from mailward.core.check.verdict import Verdict
from mailward.core.explain.checks import explain_finding
from mailward.core.explain.verdicts import say_verdict

FORMAT = 1


def build_document(report: Report) -> Json:
    facts = report.facts
    return {
        "format": FORMAT,
        "domain": facts.domain,
        "at": facts.at.isoformat(timespec="seconds"),
        "supposed": list(facts.supposed),
        "worst": report.worst.value if report.worst else None,
        "grade": None
        if report.grade is None
        else {"letter": report.grade.letter, "points": report.grade.points, "sum": list(report.grade.sum)},
        "verdicts": [_verdict(verdict, report) for verdict in report.verdicts],
        "findings": [_finding(finding, facts) for finding in report.findings],
        "not_observed": [{"about": each.about, "reason": each.reason} for each in report.unobserved],
        "facts": build_facts(facts),
        "history": _history(report.history),
        "rehearsal": None if report.rehearsed is None else _rehearsed(report.rehearsed),
    }


def _rehearsed(rehearsed: Rehearsed) -> Json:
    return {
        "mode": rehearsed.mode.value,
        "reports": rehearsed.reports,
        "first_day": rehearsed.first.isoformat() if rehearsed.first else None,
        "last_day": rehearsed.last.isoformat() if rehearsed.last else None,
        "refused": [_row(row) for row in rehearsed.refused],
        "passing": [_row(row) for row in rehearsed.passing],
        "successful": rehearsed.successful,
        "unverified": rehearsed.unverified,
    }


def _row(row: Row) -> Json:
    return {"sender": row.sender, "mx": row.mx or None, "code": row.code, "sessions": row.sessions}


def _history(history: History) -> Json | None:
    if not history.checks:
        return None
    return {
        "checks": history.checks,
        "since": history.since.isoformat(timespec="seconds") if history.since else None,
        "longest_max_age": history.longest_max_age,
        "copies_until": history.copies_until.isoformat(timespec="seconds") if history.copies_until else None,
    }


def _verdict(verdict: Verdict, report: Report) -> Json:
    return {
        "sender": verdict.kind.value,
        "outcome": verdict.outcome.value,
        "why": verdict.why.value or None,
        "text": say_verdict(verdict, report.facts.at),
        "accepted": list(verdict.accepted),
        "refused": list(verdict.refused),
        "not_observed": list(verdict.unobserved),
        "changes_at": verdict.changes_at.isoformat(timespec="seconds") if verdict.changes_at else None,
        "changing": verdict.changing,
    }


def _finding(finding: Finding, facts: Facts) -> Json:
    entry = explain_finding(finding.code).filled(
        mx=finding.about, domain=facts.domain, addresses=finding.addresses
    )
    return {
        "code": finding.code.value,
        "severity": finding.severity.value,
        "about": finding.about,
        "evidence": list(finding.evidence),
        "title": entry.title,
        "meaning": entry.meaning,
        "steps": list(entry.steps),
        "section": entry.section,
        "notes": list(finding.notes),
        "attack": entry.attack or None,
        "result_type": finding.result_type.value if finding.result_type else None,
    }
