"""`mailward sender run`, `explain`, `list` and `purge`: the policy server beside Postfix."""

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from mailward.cli.domain_argument import read_domain
from mailward.cli.problem import Problem
from mailward.config import Settings, load_settings
from mailward.core.mtasts.policy import Mode
from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.core.postfix.nexthop import NextHop, NoPolicy, parse_nexthop
from mailward.core.sending.overrides import OverridesInvalid
from mailward.net import clock, log
from mailward.net.dnssec import Trust, check_validation
from mailward.net.fetch import FetchError
from mailward.render.visible import make_visible
from mailward.sender import daemon
from mailward.sender.cache import CacheError, Entry
from mailward.sender.control import purge_domains
from mailward.sender.discovery import make_discovery
from mailward.sender.explain import Explanation, Step, TracingResolver
from mailward.sender.explain import explain as explain_nexthop
from mailward.sender.receiver import run_receiver
from mailward.sender.signalnumbers import Number, SignalNumbers
from mailward.sender.signals import Signals, open_signals
from mailward.sender.sitetable import SiteTableInvalid
from mailward.sender.sockets import ListenError
from mailward.sender.sqlite import SqliteCache
from mailward.sender.transfer import export_line, select, show_time
from mailward.sender.watch import read_overrides
from mailward.sender.workers import Companion, Worker, Workers

app = typer.Typer(name="sender", help="The policy server beside Postfix.", no_args_is_help=True)

T = TypeVar("T")

USUAL_CONFIG = Path("/etc/mailward/mailward.toml")
"""Of the unit too: who types a command means the daemon that runs."""
FORMER_CONFIG = Path("/etc/mailward.toml")
"""Where version 0.1 looked."""

Config = Annotated[
    Path | None,
    typer.Option(
        help=f"The settings, a TOML file: docs/settings.md. Else {USUAL_CONFIG}, where it is there.",
        envvar="MAILWARD_CONFIG",
        callback=lambda path: (
            path or next((each for each in (USUAL_CONFIG, FORMER_CONFIG) if each.exists()), None)
        ),
    ),
]


@app.command()
def run(config: Config = None) -> None:
    """Answer Postfix until Ctrl-C or SIGTERM."""
    settings = load_settings(config)
    log.configure("sender", level=settings.log.level, format=settings.sender_log_format)
    if settings.sender.workers == 1 and not settings.tlsrpt.socket:
        _guarded(lambda: daemon.run(settings))
        return
    try:
        signals = open_signals(settings)
        sockets = daemon.open_listeners(settings)
    except ListenError as error:
        raise Problem(str(error)) from error
    work = partial(_work, settings, signals)
    if status := Workers(settings.sender.workers, sockets, work, companions(settings, signals)).run():
        raise typer.Exit(status)


def companions(settings: Settings, signals: Signals | None) -> list[Companion]:
    """The processes beside the workers."""
    if signals is None:
        return []
    count_start = partial(signals.numbers.add, Number.STARTS, 1)
    found = [
        # what comes meanwhile has but the kernel's queue
        Companion(
            "receiver",
            partial(run_receiver, signals, in_order=bool(settings.tlsrpt.log)),
            first_restart_seconds=0.02,
        ),
        Companion("collector", partial(_collect, settings, signals), count_start),
    ]
    if settings.tlsrpt.contact:
        found.append(Companion("reporter", partial(_report, settings, signals.numbers)))
    return found


# What companions alone need, such as cryptography for signatures, is ten MiB: workers go without.


def _collect(settings: Settings, signals: Signals) -> int:
    from mailward.sender.collector import run_collector

    return run_collector(settings, signals)


def _report(settings: Settings, numbers: SignalNumbers) -> int:
    from mailward.sender.reporter import run_reporter

    return run_reporter(settings, numbers)


def _work(
    settings: Settings, signals: Signals | None, worker: Worker, sockets: Sequence[socket.socket]
) -> int:
    """One of several processes; its exit status."""
    try:
        _guarded(lambda: daemon.run(settings, worker, sockets, signals))
    except Problem as error:
        sys.stderr.write(f"mailward: {error}\n")
        return 2
    return 0


@app.command()
def explain(
    domain: Annotated[str, typer.Argument(help="A domain, or a next hop such as [relay.example.org]:587.")],
    config: Config = None,
) -> None:
    """Tell what Postfix would be answered about a domain, and every step that leads there."""
    settings = load_settings(config)
    nexthop = parse_nexthop(domain.encode())
    if isinstance(nexthop, NoPolicy):
        why = _why_without_policy(domain, nexthop)
        stop = "" if why.endswith("?") else "."
        raise Problem(f"{why}{stop} Postfix is told NOTFOUND (not-a-domain).")
    found = _guarded(lambda: _explain(settings, nexthop))
    for line in _explanation_lines(found):
        typer.echo(make_visible(line))


def _why_without_policy(text: str, reason: NoPolicy) -> str:
    if reason is NoPolicy.PARENT:
        return f"{text!r} is a parent, and a policy holds for no other domain"
    if reason is NoPolicy.ADDRESS:
        return f"{text!r} is an address, and policies are for domains"
    try:
        read_domain(text)
    except InvalidName as error:
        return str(error)
    return f"{text[:60]!r} is no next hop"


@app.command(name="list")
def list_policies(
    below: Annotated[
        str, typer.Argument(metavar="[DOMAIN]", help="Only this domain and those below it.")
    ] = "",
    mode: Annotated[str, typer.Option(help="Only policies of this mode: enforce, testing or none.")] = "",
    failing: Annotated[bool, typer.Option(help="Only those whose refreshes fail, with the reason.")] = False,
    ended: Annotated[bool, typer.Option(help="Only those that have ended.")] = False,
    ends_within: Annotated[int, typer.Option(metavar="HOURS", help="Only those that end so soon.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, as `export` writes.")
    ] = False,
    config: Config = None,
) -> None:
    """List the policies in the cache: domain, mode, when fetched, when they end, mx patterns, failed refreshes."""
    settings = load_settings(config)
    if mode and mode not in list(Mode):
        raise Problem(f"{mode!r} is no mode of a policy: {', '.join(Mode)}.")
    try:
        below = parse_domain(below, allow_single=True) if below else ""
    except InvalidName as error:
        raise Problem(str(error)) from error
    found = _guarded(lambda: _with_cache(settings, lambda cache: cache.listing()))
    tell_damaged(_guarded(lambda: _with_cache(settings, lambda cache: cache.damaged())))
    now = int(clock.now().timestamp())
    for entry in select(
        found, now, mode=mode, failing=failing, ended=ended, ends_within_hours=ends_within, below=below
    ):
        typer.echo(export_line(entry) if as_json else _printable_row(entry))


@app.command()
def purge(
    domains: Annotated[list[str], typer.Argument(metavar="DOMAIN...", help="Whose policies are forgotten.")],
    config: Config = None,
) -> None:
    """Forget the policies of domains, in the cache and within two seconds in running daemons."""
    path = existing_cache(load_settings(config))
    try:
        names = [parse_domain(domain) for domain in domains]
        gone = purge_domains(path, names, int(clock.now().timestamp()))
    except (InvalidName, CacheError) as error:
        raise Problem(str(error)) from error
    for name in gone:
        typer.echo(f"Forgotten: {name}")
    if missing := [name for name in names if name not in gone]:
        raise Problem(f"No policy of {', '.join(missing)} is in {path}.")


def tell_damaged(domains: Sequence[Domain]) -> None:
    if domains:
        names = f"{', '.join(domains[:20])}{' and more' if len(domains) > 20 else ''}"
        typer.echo(f"{len(domains)} entries cannot be read until they are fetched again: {names}", err=True)


def existing_cache(settings: Settings) -> Path:
    """Raises Problem."""
    path = settings.sender_cache_path
    if not path.exists():
        raise Problem(f"There is no cache at {path}.")
    return path


def _printable_row(entry: Entry) -> str:
    policy, cached = entry.cached.policy, entry.cached
    times = f"{show_time(cached.fetched_at)}\t{show_time(cached.expires_at)}"
    failures = ""
    if entry.failure is not None:
        failures = f"\t{entry.failure.count} failed refreshes: {make_visible(entry.failure.reason)}"
    return f"{entry.domain}\t{policy.mode}\t{times}\t{' '.join(policy.mx)}{failures}"


def _guarded(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it; what a person can mend is a Problem."""
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work())
    except (CacheError, FetchError, ListenError, OverridesInvalid, SiteTableInvalid) as error:
        raise Problem(str(error)) from error


async def _with_cache(settings: Settings, work: Callable[[SqliteCache], Coroutine[Any, Any, T]]) -> T:
    cache = SqliteCache(existing_cache(settings), settings.sender.max_domains)
    try:
        return await work(cache)
    finally:
        await cache.close()


async def _explain(settings: Settings, nexthop: NextHop) -> Explanation:
    resolver = TracingResolver(settings.dns.resolvers, timeout_seconds=daemon.LOOKUP_SECONDS)
    resolver.steps = []
    sender = settings.sender
    validation = await check_validation(resolver, sender.dnssec_secure_name, sender.dnssec_bogus_name)
    entry: Entry | None = None
    if settings.sender_cache_path.exists():
        entry = await _with_cache(settings, lambda cache: cache.load(nexthop.domain))
    overrides = read_overrides(Path(sender.overrides)) if sender.overrides else ()
    return await explain_nexthop(
        nexthop,
        make_discovery(settings, resolver),
        resolver.steps,
        entry=entry,
        site=daemon.make_site(settings),
        overrides=overrides,
        validates=sender.dane and validation.trust is Trust.VALIDATES,
    )


def _explanation_lines(found: Explanation) -> list[str]:
    lines = [f"Mail to {found.nexthop}", "", "Steps:", *(_step_line(step) for step in found.steps), ""]
    lines += _policy_lines(found)
    lines += [
        f"DANE: {found.dane.state}: {found.dane.reason}" if found.dane.reason else f"DANE: {found.dane.state}"
    ]
    lines += [
        f"  {host.name}: {host.state}{f' ({host.reason})' if host.reason else ''}"
        for host in found.dane.hosts
    ]
    if found.override is not None:
        until = f"{found.override.until:%Y-%m-%d}"
        lines += ["", f"Override: {found.override.action} until {until}: {found.override.reason}"]
    lines += ["", f"Decision: {found.decision.row}: {found.decision.reason}"]
    lines += [
        f"  {dialect} and later: {answer.decode('ascii', 'replace')}"
        for dialect, answer in found.answers.items()
    ]
    return lines


def _step_line(step: Step) -> str:
    return f"  {step.seconds * 1000:7.1f} ms  {step.what}: {step.outcome}"


def _policy_lines(found: Explanation) -> list[str]:
    lines = [
        f"Record: {f'id {found.record.record.policy_id}' if found.record.record else found.record.reason}"
    ]
    if found.entry is None:
        lines.append("Cache: no policy")
    else:
        cached, failure = found.entry.cached, found.entry.failure
        ends = f"fetched {show_time(cached.fetched_at)}, ends {show_time(cached.expires_at)}"
        lines.append(f"Cache: id {cached.policy_id}, mode {cached.policy.mode}, {ends}")
        if failure is not None:
            lines.append(f"  {failure.count} refreshes have failed since: {failure.reason}")
    lines.append(f"Fetch: {found.fetch}")
    policy = found.sts.policy
    if policy is not None:
        names = f", mx {' '.join(policy.mx)}" if policy.mx else ""
        lines.append(f"Policy: {policy.mode}, kept for {policy.max_age_seconds} seconds{names}")
    return lines
