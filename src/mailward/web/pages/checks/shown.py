"""A check's report as its template shows it. Whatever strangers wrote is made visible here, and escaped there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from mailward.core.check.facts import Depth, Facts
from mailward.core.check.finding import Finding
from mailward.core.check.grade import Grade
from mailward.core.check.run import Report
from mailward.core.check.verdict import Outcome
from mailward.core.explain.checks import explain_finding
from mailward.core.explain.explanation import Explanation, Severity
from mailward.core.explain.verdicts import say_verdict
from mailward.core.tls.suites import Weakness, weaknesses
from mailward.core.watch.changes import place
from mailward.render.check import list_seen
from mailward.render.visible import make_visible

_MAX_LINE = 400
_MAX_LINES = 600
_CONTEXT = 2
_BADGES = {Severity.CRITICAL: "bad", Severity.WARNING: "warn", Severity.NOTICE: "info"}
_OUTCOMES = {
    Outcome.DELIVERS: ("ok", "delivers"),
    Outcome.PARTLY: ("warn", "partly"),
    Outcome.REFUSES: ("bad", "refuses"),
    Outcome.UNPROTECTED: ("warn", "unprotected"),
    Outcome.NO_MAIL: ("unknown", "no mail"),
    Outcome.UNKNOWN: ("unknown", "not known"),
}
_WEAKNESSES = {
    Weakness.NULL: "no encryption",
    Weakness.EXPORT: "short keys",
    Weakness.RC4: "RC4",
    Weakness.SMALL_BLOCKS: "small blocks",
    Weakness.ANONYMOUS: "no certificate",
    Weakness.NO_FORWARD_SECRECY: "no forward secrecy",
}
_INJECTED = {
    True: "A command slipped in behind STARTTLS is carried out.",
    False: "A command slipped in behind STARTTLS is forgotten, as it should be.",
    None: "Whether a command slipped in behind STARTTLS is carried out was not observed.",
}
_GRADES = {"A": "ok", "B": "ok", "C": "warn", "D": "bad", "F": "bad"}


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    text: str
    badge: str
    word: str


@dataclass(frozen=True, slots=True)
class ShownFinding:
    code: str
    severity: str
    badge: str
    about: str
    evidence: tuple[str, ...]
    notes: tuple[str, ...]
    result_type: str
    explanation: Explanation
    problem_id: int | None
    """The open problem that people hear of."""


@dataclass(frozen=True, slots=True)
class ShownSuite:
    name: str
    weakness: str
    """In a word; empty: none."""


@dataclass(frozen=True, slots=True)
class ShownDepth:
    """What a deep look showed at one or more addresses of an MX host."""

    host: str
    addresses: str
    versions: tuple[tuple[str, tuple[ShownSuite, ...]], ...]
    """The newest first, each with its suites in the order of the server's choice."""
    injected: str
    unfinished: str


@dataclass(frozen=True, slots=True)
class Shown:
    """A report, ready for its page."""

    domain: str
    verdicts: tuple[ShownVerdict, ...]
    grade: Grade | None
    grade_badge: str
    findings: tuple[ShownFinding, ...]
    unobserved: tuple[tuple[str, str], ...]
    seen: tuple[str, ...]
    depths: tuple[ShownDepth, ...]


@dataclass(frozen=True, slots=True)
class DiffLine:
    kind: str
    """added, removed, or same."""
    text: str


def show(
    report: Report,
    problems: Mapping[tuple[str, str], int] | None = None,
    unobserved: Iterable[Sequence[str]] = (),
) -> Shown:
    """`problems`: the open ones by code and host. `unobserved`: more pairs of what and why."""
    verdicts = tuple(
        ShownVerdict(make_visible(say_verdict(verdict, report.facts.at)), *_OUTCOMES[verdict.outcome])
        for verdict in report.verdicts
    )
    blind = [(each.about, each.reason) for each in report.unobserved]
    blind += [(each[0], each[1]) for each in unobserved]
    return Shown(
        report.facts.domain,
        verdicts,
        report.grade,
        _GRADES[report.grade.letter] if report.grade else "unknown",
        tuple(_finding(finding, report.facts.domain, problems or {}) for finding in report.findings),
        tuple((_line(about), _line(reason)) for about, reason in blind),
        seen_lines(report),
        _depths(report.facts),
    )


def seen_lines(report: Report) -> tuple[str, ...]:
    lines = tuple(_line(line) for line in list_seen(report))
    rest = len(lines) - _MAX_LINES
    return (*lines[:_MAX_LINES], *([f"and {rest} more lines"] if rest > 0 else ()))


def finding_lines(report: Report) -> tuple[str, ...]:
    """A line for each finding, to compare."""
    return tuple(
        sorted(
            _line(f"{finding.severity}: {explain_finding(finding.code).title} ({place(finding.about)})")
            for finding in report.findings
        )
    )


def verdict_lines(report: Report) -> tuple[str, ...]:
    grade = f"Grade {report.grade.letter} ({report.grade.points})" if report.grade else "No grade"
    return (grade, *(_line(say_verdict(verdict, report.facts.at)) for verdict in report.verdicts))


def differ(before: Sequence[str], after: Sequence[str]) -> tuple[DiffLine, ...]:
    """What changed, with two lines around each change; nothing where nothing did."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    lines: list[DiffLine] = []
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        for kind, old_start, old_end, new_start, new_end in group:
            if kind == "equal":
                lines += [DiffLine("same", line) for line in before[old_start:old_end]]
                continue
            lines += [DiffLine("removed", line) for line in before[old_start:old_end]]
            lines += [DiffLine("added", line) for line in after[new_start:new_end]]
    return tuple(lines)


def _finding(finding: Finding, domain: str, problems: Mapping[tuple[str, str], int]) -> ShownFinding:
    entry = explain_finding(finding.code)
    return ShownFinding(
        finding.code.value,
        finding.severity.value,
        _BADGES[finding.severity],
        _line(finding.about),
        tuple(_line(each) for each in finding.evidence),
        tuple(_line(each) for each in finding.notes),
        finding.result_type.value if finding.result_type else "",
        entry.filled(mx=place(finding.about), domain=domain, addresses=finding.addresses),
        problems.get((finding.code.value, place(finding.about))),
    )


def _depths(facts: Facts) -> tuple[ShownDepth, ...]:
    """Addresses that showed the same share an entry."""
    found: dict[tuple[str, Depth], list[str]] = {}
    for host in facts.hosts:
        for session in host.sessions:
            if session.depth is not None:
                found.setdefault((host.name, session.depth), []).append(session.address)
    return tuple(_depth(host, depth, addresses) for (host, depth), addresses in found.items())


def _depth(host: str, depth: Depth, addresses: Sequence[str]) -> ShownDepth:
    # before cipher suites were asked for, the one that was chosen is known
    asked = dict(depth.ciphers.accepted) if depth.ciphers else {}
    versions = dict.fromkeys([version for version, _ in depth.versions] + list(asked))
    return ShownDepth(
        _line(host),
        ", ".join(addresses),
        tuple(
            (version, tuple(_suite(name) for name in asked.get(version, ())))
            for version in sorted(versions, reverse=True)
        ),
        _INJECTED[depth.accepts_injected],
        _line(depth.ciphers.unfinished) if depth.ciphers else "",
    )


def _suite(name: str) -> ShownSuite:
    words = [_WEAKNESSES[weakness] for weakness in Weakness if weakness in weaknesses(name)]
    return ShownSuite(_line(name), ", ".join(words))


def _line(text: str) -> str:
    return make_visible(text)[:_MAX_LINE]
