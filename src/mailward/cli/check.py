"""`mailward check DOMAIN...`: what senders see at a domain, and what they do."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from mailward.cli.check_history import Earlier, append_history, read_history
from mailward.cli.check_reports import rehearse
from mailward.cli.check_trial import read_sending, refuse_stray
from mailward.cli.domain_argument import read_domain
from mailward.cli.report_target import open_target
from mailward.core.check.document import build_document
from mailward.core.check.facts import Facts
from mailward.core.check.rehearsal import Rehearsed
from mailward.core.check.run import Report, run
from mailward.core.check.suppose import SuppositionWrong, suppose_mx, suppose_policy, suppose_tlsa
from mailward.core.check.verdict import Outcome
from mailward.core.explain.explanation import Severity
from mailward.core.mtasts.policy import MAX_POLICY_BYTES, Level, Mode, lint_policy
from mailward.core.names import Domain, InvalidName, check_ldh, parse_domain
from mailward.net.files import STDIN
from mailward.net.guard import OWN_ADDRESS, Guard
from mailward.net.quota import FileQuota, state_file
from mailward.net.resolver import Resolver
from mailward.net.tlsdial import TlsFailed, check_authorities
from mailward.probe.observe import Observer, Ways
from mailward.probe.trial import Trial
from mailward.render.check import render_line, render_report
from mailward.render.paper import WIDTH
from mailward.render.visible import make_visible

app = typer.Typer(name="check", help="Tell what senders see at a domain, and what they do.")

# the convention of Nagios and all who follow it; scripts can use it as well
EXIT_OK, EXIT_WARNING, EXIT_CRITICAL, EXIT_UNKNOWN = 0, 1, 2, 3
_STATUS = {
    None: EXIT_OK,
    Severity.NOTICE: EXIT_OK,
    Severity.WARNING: EXIT_WARNING,
    Severity.CRITICAL: EXIT_CRITICAL,
}
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_WORST = (EXIT_CRITICAL, EXIT_WARNING, EXIT_UNKNOWN, EXIT_OK)
MAX_AT_ONCE = 8
PROBES_PER_HOUR = 600
"""Some fifteen deep looks at a server of today, or two hundred domains that share a policy host."""
MIN_WIDTH, MAX_WIDTH = 60, 120


@dataclass(frozen=True, slots=True)
class _Supposed:
    """What is not so, but is asked about."""

    policy: bytes | None
    mx: tuple[Domain, ...]
    tlsa: tuple[str, ...]


@app.command()
def check(
    domains: Annotated[
        list[str], typer.Argument(help="Mail domains, such as example.org.", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for each domain.")
    ] = False,
    one_line: Annotated[
        bool, typer.Option("--nagios", help="Print one line for each domain, as monitoring plugins do.")
    ] = False,
    brief: Annotated[bool, typer.Option("--brief", help="Leave out what was seen.")] = False,
    no_smtp: Annotated[
        bool, typer.Option("--no-smtp", help="Ask DNS and the policy host only, no MX host.")
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Up to 200 connections more to each MX address: TLS versions and cipher suites one by one, "
            "commands slipped in.",
        ),
    ] = False,
    resolvers: Annotated[
        list[str] | None,
        typer.Option(
            "--resolver", help="Ask this DNS server (address or address:port) instead of the system's."
        ),
    ] = None,
    ehlo: Annotated[str, typer.Option(help="Our name in EHLO; otherwise the machine's.")] = "",
    ca_file: Annotated[
        Path | None, typer.Option(help="Trust these certificate authorities (PEM) instead of the system's.")
    ] = None,
    from_policy: Annotated[
        Path | None, typer.Option(help="As if this policy were served, and announced by a record.")
    ] = None,
    from_mx: Annotated[
        list[str] | None, typer.Option(help="As if the MX records named this host; may be repeated.")
    ] = None,
    from_tlsa: Annotated[
        list[str] | None,
        typer.Option(
            help="As if this record stood there: 'MX_HOST USAGE SELECTOR TYPE DATA'; may be repeated."
        ),
    ] = None,
    reports: Annotated[
        list[str] | None,
        typer.Option(
            help="With --from-policy: TLS reports (files, mails, mboxes, folders), to tell which of their sessions "
            "would be refused; may be repeated."
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            help="Compare with the earlier checks in this file (JSON lines), and add this one to it."
        ),
    ] = None,
    report_test: Annotated[
        bool,
        typer.Option(
            "--report-test",
            help="Really send a report without sessions to each rua, marked as a test. Needs --contact; for mail "
            "--dkim-key and --dkim-selector too.",
        ),
    ] = False,
    contact: Annotated[str, typer.Option(help="The mail address of who sends the test report.")] = "",
    dkim_key: Annotated[
        Path | None, typer.Option(help="Private key (PEM) that signs for the domain of --contact.")
    ] = None,
    dkim_selector: Annotated[str, typer.Option(help="Where its public key is in the DNS.")] = "",
    relay: Annotated[
        str, typer.Option(help="Send the mail through this relay (host:port), not straight to the MX hosts.")
    ] = "",
    smtp_port: Annotated[int, typer.Option(min=1, max=65535, help="In laboratories.")] = 25,
    https_port: Annotated[int, typer.Option(min=1, max=65535, help="In laboratories.")] = 443,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Connect to private and loopback addresses too.")
    ] = False,
    allow_own: Annotated[
        bool, typer.Option("--allow-own", help="Connect to this machine's own public addresses too.")
    ] = False,
    probes_per_hour: Annotated[
        int, typer.Option(min=1, help="The most connections to one address in an hour, over all runs.")
    ] = PROBES_PER_HOUR,
) -> None:
    """Look at domains as senders do: DNS, policy host, every address of every MX host. No mail is sent, but for
    --report-test.

    Exit status, of the worst domain: 0 OK, 1 WARNING (protection is lost or will be), 2 CRITICAL (senders do not
    deliver), 3 UNKNOWN (nothing that would tell was observed, or a name, file or server given here cannot be used).
    """
    ways = Ways(not no_smtp, ca_file, smtp_port, https_port, ehlo, is_deep=deep)
    try:
        names = list(dict.fromkeys(read_domain(text) for text in domains))
        resolver, guard = Resolver(resolvers or ()), Guard(allow_private, forbid_own=not allow_own)
        observer = _make_observer(ways, guard, resolver, FileQuota(state_file(), probes_per_hour))
        trial = None
        if report_test:
            sending = read_sending(
                contact, relay, dkim_key, dkim_selector, ca_file=ca_file, smtp_port=smtp_port
            )
            trial = Trial(sending, resolver, guard)
        else:
            refuse_stray(contact, relay, dkim_key, dkim_selector)
        supposed = _read_supposed(from_policy, from_mx or (), from_tlsa or ())
        earlier = _read_earlier(history, names)
        rehearsed = _rehearse(reports or (), names, supposed)
    except (InvalidName, ValueError, TlsFailed) as error:
        raise _unknown(str(error)) from error
    except OSError as error:
        raise _unknown(f"{error.filename}: {error.strerror or error}") from error
    observed = asyncio.run(_observe_all(observer, names, supposed.mx, trial))
    try:
        judged = [run(_suppose(facts, supposed), earlier.of(facts.domain)) for facts in observed]
    except SuppositionWrong as error:
        raise _unknown(str(error)) from error
    judged = [replace(report, rehearsed=rehearsed.get(report.facts.domain)) for report in judged]
    statuses = [_status(report) for report in judged]
    with open_target(None):
        for report, status in zip(judged, statuses, strict=True):
            typer.echo(_present(report, status, as_json=as_json, one_line=one_line, brief=brief))
    _keep(history, judged)
    if any(OWN_ADDRESS in each.reason for report in judged for each in report.unobserved):
        typer.echo("mailward: this machine's own addresses were not looked at; --allow-own does it", err=True)
    raise typer.Exit(next(status for status in _WORST if status in statuses))


def _read_earlier(file: Path | None, names: Sequence[Domain]) -> Earlier:
    """Raises OSError."""
    if file is None:
        return Earlier({}, 0)
    earlier = read_history(file, names)
    if earlier.unreadable:
        typer.echo(f"mailward: {file}: lines that are no documents of checks: {earlier.unreadable}", err=True)
    return earlier


def _rehearse(paths: Sequence[str], names: Sequence[Domain], supposed: _Supposed) -> dict[str, Rehearsed]:
    """Raises ValueError."""
    if not paths:
        return {}
    if supposed.policy is None:
        raise ValueError("--reports goes with --from-policy: it says what that policy would have refused")
    policy, problems = lint_policy(supposed.policy)
    if policy is None:
        first = next(each for each in problems if each.level is Level.INVALID)
        raise ValueError(f"--from-policy: senders could not use it: {first}")
    for path in paths:
        if path != STDIN and not Path(path).exists():
            raise ValueError(f"--reports: {path}: no such file or folder")
    return rehearse(
        paths, names, policy, lambda text: typer.echo(f"mailward: {make_visible(text)}", err=True)
    )


def _keep(file: Path | None, reports: Sequence[Report]) -> None:
    """What was only supposed is no history."""
    if file is None:
        return
    try:
        append_history(file, [build_document(report) for report in reports if not report.facts.supposed])
    except OSError as error:
        raise _unknown(f"{file}: {error.strerror or error}") from error


def _make_observer(ways: Ways, guard: Guard, resolver: Resolver, quota: FileQuota) -> Observer:
    """Raises ValueError, TlsFailed."""
    if ways.ehlo_name:
        try:
            check_ldh(ways.ehlo_name)
        except InvalidName as error:
            raise ValueError(f"--ehlo: {error}") from error
    check_authorities(ways.ca_file)
    return Observer(resolver, guard, ways, quota=quota)


def _read_supposed(policy: Path | None, mx: Sequence[str], tlsa: Sequence[str]) -> _Supposed:
    """Raises OSError, InvalidName."""
    body = None
    if policy is not None:
        with policy.open("rb") as stream:
            body = stream.read(MAX_POLICY_BYTES + 1)
    return _Supposed(body, tuple(parse_domain(name, allow_single=True) for name in mx), tuple(tlsa))


def _suppose(facts: Facts, supposed: _Supposed) -> Facts:
    """Raises SuppositionWrong."""
    if supposed.mx:
        facts = suppose_mx(facts, supposed.mx)
    if supposed.policy is not None:
        facts = suppose_policy(facts, supposed.policy)
    for text in supposed.tlsa:
        facts = suppose_tlsa(facts, text)
    return facts


async def _observe_all(
    observer: Observer, domains: list[Domain], supposed_mx: tuple[Domain, ...], trial: Trial | None
) -> list[Facts]:
    places = asyncio.Semaphore(MAX_AT_ONCE)

    async def observe(domain: Domain) -> Facts:
        async with places:
            facts = await observer.observe(domain, supposed_mx)
            return facts if trial is None else await trial.send(facts)

    return list(await asyncio.gather(*(observe(domain) for domain in domains)))


def _present(report: Report, status: int, *, as_json: bool, one_line: bool, brief: bool) -> str:
    if as_json:
        return json.dumps(build_document(report))
    if one_line:
        return render_line(report, _WORDS[status])
    width, with_colours = _look_of_terminal()
    return render_report(report, details=not brief, width=width, with_colours=with_colours) + "\n"


def _look_of_terminal() -> tuple[int, bool]:
    """How wide, and whether coloured; a pipe is as wide as always, and has no colours."""
    if not sys.stdout.isatty():
        return WIDTH, False
    columns = shutil.get_terminal_size((WIDTH, 24)).columns
    has_colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return min(max(columns, MIN_WIDTH), MAX_WIDTH), has_colours


def _status(report: Report) -> int:
    status = _STATUS[report.worst]
    rehearsed = report.rehearsed
    if rehearsed is not None and rehearsed.refused and rehearsed.mode is Mode.ENFORCE:
        status = max(status, EXIT_WARNING)
    others = report.verdicts[-1]
    if status == EXIT_OK and report.facts.has_smtp and others.outcome is Outcome.UNKNOWN:
        return EXIT_UNKNOWN  # no MX host showed anything: that nothing is wrong cannot be said
    return status


def _unknown(sentence: str) -> typer.Exit:
    typer.echo(f"mailward: {sentence}", err=True)
    return typer.Exit(EXIT_UNKNOWN)
