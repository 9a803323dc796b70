"""A check's report for a terminal: the verdict first, then findings with what to do, then what was seen."""

import textwrap
from collections.abc import Iterator

from mailward.core.certificate import read_chain
from mailward.core.check.facts import Fetch, Lookup, Session
from mailward.core.check.finding import Finding
from mailward.core.check.history import History
from mailward.core.check.run import Report
from mailward.core.explain.checks import explain_finding
from mailward.core.explain.explanation import Severity
from mailward.core.explain.verdicts import say_verdict
from mailward.render.rehearsal import render_rehearsal
from mailward.render.visible import make_visible
from mailward.render.wording import split_code

WIDTH = 100
_MAX_EVIDENCE = 300
_HELD = "\u00a0"
"""Holds the words of a command together while lines are made; never seen."""
_WORDS = {Severity.CRITICAL: "CRITICAL", Severity.WARNING: "WARNING", Severity.NOTICE: "notice"}


def render_report(report: Report, *, details: bool = True) -> str:
    """Lines for people. Whatever strangers wrote is made visible; nothing of it can steer the terminal."""
    lines = [f"{report.facts.domain}", ""]
    if report.facts.supposed:
        lines += [*_wrap(f"If {'; and if '.join(report.facts.supposed)}:", "  "), ""]
    for verdict in report.verdicts:
        lines += _wrap(say_verdict(verdict, report.facts.at), "    ", first="  * ")
    if report.grade is not None:
        lines += ["", *_wrap(f"Grade {report.grade.letter}: {'; '.join(report.grade.sum)}", "  ")]
    if report.rehearsed is not None:
        lines += ["", *render_rehearsal(report.rehearsed)]
    if told := _history(report.history):
        lines += ["", *_wrap(told, "  ")]
    for finding in report.findings:
        lines += ["", *_finding(finding, report.facts.domain)]
    if not report.findings:
        lines += ["", "  Nothing is wrong with what was seen."]
    if report.unobserved:
        lines += ["", "  Not observed from here:"]
        lines += [
            f"    {make_visible(each.about)}: {make_visible(each.reason)}" for each in report.unobserved
        ]
    if details:
        lines += ["", "  Seen:", *(f"    {line}" for line in list_seen(report))]
    return "\n".join(make_visible(line) for line in lines)


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


def _finding(finding: Finding, domain: str) -> Iterator[str]:
    entry = explain_finding(finding.code).filled(mx=finding.about, domain=domain)
    yield from _wrap(f"{_WORDS[finding.severity]}  {entry.title}: {finding.about}", "    ", first="  ")
    told = f", senders report {finding.result_type}" if finding.result_type else ""
    yield from _wrap(f"[{finding.code}, {entry.section}{told}]", "     ", first="    ")
    for each in finding.evidence:
        yield from _wrap(make_visible(each)[:_MAX_EVIDENCE], "        ", first="      seen: ")
    yield from _wrap(entry.meaning, "    ")
    for note in finding.notes:
        yield from _wrap(f"In the wild: {note}", "    ")
    for number, step in enumerate(entry.steps, 1):
        yield from _wrap(_hold_commands(step), "       ", first=f"    {number}. ")


def _hold_commands(step: str) -> str:
    """Commands lose their backticks and are not broken over lines: a person copies them."""
    pieces = split_code(step)
    return "".join(text.replace(" ", _HELD) if is_code else text for text, is_code in pieces)


def _wrap(text: str, indent: str, first: str | None = None) -> list[str]:
    start = indent if first is None else first
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_HELD, " ") for line in lines] or [start.rstrip()]


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
        yield f"    policy from {other.address}, {other.client}: {other.message or f'{len(other.body)} bytes'}"
    for host in facts.hosts:
        for lookup in (host.v4, host.v6, *host.tlsa):
            yield from _lookup(lookup)
        for session in host.sessions:
            yield from _session(host.name, session)
    yield from _lookup(facts.tlsrpt)
    for target in facts.targets:
        if target.trial:
            took = {True: "taken", False: "refused", None: "not known"}[target.took_trial]
            yield f"    test report to {target.uri[:200]}: {took}; {target.trial}"


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
    yield f"{host} at {session.address}: {session.tls.version}, {session.tls.cipher}"
    for certificate in read_chain(session.tls.chain):
        names = ", ".join(certificate.names[:5]) or certificate.subject
        yield f"  {names}; {certificate.key}; until {certificate.not_after:%Y-%m-%d}; by {certificate.issuer}"
    for version, suites in session.depth.ciphers.accepted if session.depth and session.depth.ciphers else ():
        yield from _wrap(f"accepts {version} with {', '.join(suites)}", "    ", first="  ")
