"""A check's report for a terminal: the verdict first, then findings with what to do, then what was seen."""

from collections.abc import Iterator

from mailward.core.certificate import read_chain
from mailward.core.check.facts import Fetch, Lookup, Session
from mailward.core.check.finding import Finding
from mailward.core.check.grade import Grade
from mailward.core.check.history import History
from mailward.core.check.run import Report
from mailward.core.check.verdict import Outcome
from mailward.core.explain.checks import explain_finding
from mailward.core.explain.explanation import Severity
from mailward.core.explain.verdicts import say_verdict
from mailward.render.paper import WIDTH, Paper, Style, hold_commands, wrap
from mailward.render.rehearsal import render_rehearsal
from mailward.render.visible import make_visible

_MAX_EVIDENCE = 300
_WORDS = {
    Severity.CRITICAL: ("CRITICAL", Style.BAD),
    Severity.WARNING: ("WARNING", Style.DOUBTFUL),
    Severity.NOTICE: ("notice", Style.NOTICE),
}
_OUTCOMES = {
    Outcome.DELIVERS: Style.GOOD,
    Outcome.PARTLY: Style.DOUBTFUL,
    Outcome.UNPROTECTED: Style.DOUBTFUL,
    Outcome.REFUSES: Style.BAD,
}


def render_report(
    report: Report, *, details: bool = True, width: int = WIDTH, with_colours: bool = False
) -> str:
    """Lines for people. Whatever strangers wrote is made visible; nothing of it can steer the terminal."""
    paper = Paper(width, with_colours=with_colours)
    paper.line(report.facts.domain, Style.BOLD)
    paper.line()
    _summary(report, paper)
    for finding in report.findings:
        paper.line()
        _finding(finding, report.facts.domain, paper)
    if not report.findings:
        paper.line()
        rest = "; not everything was" if report.unobserved else ""
        paper.line(f"  Nothing is wrong with what was seen{rest}.")
    if report.unobserved:
        paper.line()
        paper.line("  Not observed from here:")
        for each in report.unobserved:
            paper.prose(f"{each.about}: {each.reason}", "      ", first="    ")
    if details:
        paper.line()
        paper.line("  Seen:")
        for line in list_seen(report):
            paper.line(f"    {line}")
    return str(paper)


def _summary(report: Report, paper: Paper) -> None:
    if report.facts.supposed:
        paper.prose(f"If {'; and if '.join(report.facts.supposed)}:", "  ")
        paper.line()
    for verdict in report.verdicts:
        style = _OUTCOMES.get(verdict.outcome, Style.PLAIN)
        paper.prose(say_verdict(verdict, report.facts.at), "    ", "  * ", style, painted=3)
    if report.grade is not None:
        paper.line()
        paper.prose(f"Grade {report.grade.letter}: {_say_sum(report.grade)}", "  ")
    if report.rehearsed is not None:
        paper.line()
        for line in render_rehearsal(report.rehearsed):
            paper.line(line)
    if told := _history(report.history):
        paper.line()
        paper.prose(told, "  ")


def _say_sum(graded: Grade) -> str:
    """`100 - 40 tlsa-mismatch = 60`."""
    parts = [f" {each}" if each[0] in "-=" else f"; {each};" for each in graded.sum[1:]]
    return "".join((graded.sum[0], *parts))


def render_line(report: Report, word: str) -> str:
    """One line for a monitoring plugin: state, what is worst, the verdict."""
    first = say_verdict(report.verdicts[0], report.facts.at)
    codes = ", ".join(f"{finding.code} ({finding.about})" for finding in report.findings if _weighs(finding))
    return make_visible(f"{word} {report.facts.domain}: {codes + '. ' if codes else ''}{first}")


def _history(history: History) -> str:
    if history.since is None:
        return ""
    checks = f"{history.checks} earlier check{'s' if history.checks > 1 else ''}"
    text = f"Compared with {checks}, since {history.since:%Y-%m-%d %H:%M} UTC."
    if history.copies_until is None or history.longest_max_age is None:
        return text
    return (
        f"{text} The longest max_age seen is {history.longest_max_age} seconds; senders may hold copies of the "
        f"policies seen until {history.copies_until:%Y-%m-%d}."
    )


def _weighs(finding: Finding) -> bool:
    return finding.severity is not Severity.NOTICE


def _finding(finding: Finding, domain: str, paper: Paper) -> None:
    entry = explain_finding(finding.code).filled(mx=finding.about, domain=domain, addresses=finding.addresses)
    word, style = _WORDS[finding.severity]
    paper.prose(f"{word}  {entry.title}: {finding.about}", "    ", "  ", style, painted=2 + len(word))
    told = f", senders report {finding.result_type}" if finding.result_type else ""
    paper.prose(f"[{finding.code}, {entry.section}{told}]", "     ", "    ", Style.DIM)
    for each in finding.evidence:
        paper.prose(make_visible(each)[:_MAX_EVIDENCE], "        ", "      seen: ")
    paper.prose(entry.meaning, "    ")
    for note in finding.notes:
        paper.prose(f"In the wild: {note}", "    ")
    for number, step in enumerate(entry.steps, 1):
        paper.prose(hold_commands(step), "       ", f"    {number}. ")


def list_seen(report: Report) -> Iterator[str]:
    """A line for each thing that was seen; strangers' words in it are not yet made visible."""
    facts = report.facts
    yield from _lookup(facts.mx)
    yield from _lookup(facts.sts)
    for lookup in (facts.policy_host.v4, facts.policy_host.v6):
        yield from _lookup(lookup)
    for fetch in facts.policy_host.fetches:
        yield from _fetch(fetch)
    if other := facts.policy_host.as_others:
        yield f"policy from {other.address}, {other.client}: {other.message or f'{len(other.body)} bytes'}"
    for host in facts.hosts:
        for lookup in (host.v4, host.v6, *host.tlsa):
            yield from _lookup(lookup)
        for session in host.sessions:
            yield from _session(host.name, session)
    yield from _lookup(facts.tlsrpt)
    for target in facts.targets:
        if target.trial:
            took = {True: "taken", False: "refused", None: "not known"}[target.took_trial]
            yield f"test report to {target.uri[:200]}: {took}; {target.trial}"


def _lookup(lookup: Lookup) -> Iterator[str]:
    proved = " (DNSSEC)" if lookup.is_secure else ""
    for alias in lookup.chain:
        yield f"{lookup.name} CNAME {alias}{proved}"
    for record in lookup.records:
        yield f"{lookup.name} {lookup.kind} {record[:200]}{proved}"
    if not lookup.records:
        yield f"{lookup.name} {lookup.kind}: {lookup.reason or lookup.found}{proved}"


def _fetch(fetch: Fetch) -> Iterator[str]:
    yield f"policy from {fetch.address}: {fetch.message or f'{len(fetch.body)} bytes'}"
    for line in fetch.body[:2000].decode("utf-8", "backslashreplace").splitlines()[:20]:
        yield f"  {line[:200]}"


def _session(host: str, session: Session) -> Iterator[str]:
    if session.tls is None:
        seen = session.tls_error or session.starttls_reply or session.reason
        yield f"{host} at {session.address}: {session.reach}; {seen or 'no STARTTLS'}"
        return
    requires = ", REQUIRETLS" if "REQUIRETLS" in map(str.upper, session.extensions_in_tls) else ""  # RFC 8689
    yield f"{host} at {session.address}: {session.tls.version}, {session.tls.cipher}{requires}"
    for certificate in read_chain(session.tls.chain):
        names = ", ".join(certificate.names[:5]) or certificate.subject
        yield f"  {names}; {certificate.key}; until {certificate.not_after:%Y-%m-%d}; by {certificate.issuer}"
    for version, suites in session.depth.ciphers.accepted if session.depth and session.depth.ciphers else ():
        yield from wrap(f"accepts {version} with {', '.join(suites)}", "    ", "  ")
