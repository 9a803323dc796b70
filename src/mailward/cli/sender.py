"""`mailward sender run`, `explain`, `list` and `purge`: the policy server beside Postfix."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from mailward.cli.problem import Problem
from mailward.config import Settings, load_settings
from mailward.core.names import InvalidName, parse_domain
from mailward.core.postfix.nexthop import NextHop, NoPolicy, parse_nexthop
from mailward.core.sending.overrides import OverridesInvalid
from mailward.net import log
from mailward.sender import daemon
from mailward.sender.cache import CacheError, Entry
from mailward.sender.discovery import make_discovery
from mailward.sender.dnssec import Trust, check_validation
from mailward.sender.explain import Explanation, Step, TracingResolver
from mailward.sender.explain import explain as explain_nexthop
from mailward.sender.sockets import ListenError
from mailward.sender.sqlite import SqliteCache
from mailward.sender.watch import read_overrides

app = typer.Typer(name="sender", help="The policy server beside Postfix.", no_args_is_help=True)

T = TypeVar("T")

Config = Annotated[
    Path | None,
    typer.Option(help="The settings, a TOML file. See docs/settings.md.", envvar="MAILWARD_CONFIG"),
]


@app.command()
def run(config: Config = None) -> None:
    """Answer Postfix until Ctrl-C or SIGTERM."""
    log.configure("sender")
    settings = load_settings(config)
    _guarded(lambda: daemon.run(settings))


@app.command()
def explain(
    domain: Annotated[str, typer.Argument(help="A domain, or a next hop such as [relay.example.org]:587.")],
    config: Config = None,
) -> None:
    """Tell what Postfix would be answered about a domain, and every step that leads there."""
    settings = load_settings(config)
    nexthop = parse_nexthop(domain.encode())
    if isinstance(nexthop, NoPolicy):
        raise Problem(f"{domain!r} can have no policy of its own: {nexthop}")
    found = _guarded(lambda: _explain(settings, nexthop))
    for line in _explanation_lines(found):
        typer.echo(_printable(line))


@app.command(name="list")
def list_policies(config: Config = None) -> None:
    """List the policies in the cache: domain, mode, when fetched, when they end, mx patterns."""
    settings = load_settings(config)
    for entry in _guarded(lambda: _with_cache(settings, lambda cache: cache.listing())):
        policy, cached = entry.cached.policy, entry.cached
        times = f"{_when(cached.fetched_at)}\t{_when(cached.expires_at)}"
        typer.echo(f"{entry.domain}\t{policy.mode}\t{times}\t{' '.join(policy.mx)}")


@app.command()
def purge(
    domain: Annotated[str, typer.Argument(help="The domain whose policy is forgotten.")],
    config: Config = None,
) -> None:
    """Forget the policy of a domain. A running daemon still knows it: restart it, or use an override instead."""
    settings = load_settings(config)
    try:
        name = parse_domain(domain)
    except InvalidName as error:
        raise Problem(str(error)) from error
    if not _guarded(lambda: _with_cache(settings, lambda cache: cache.remove(name))):
        raise Problem(f"No policy of {name} is in {settings.sender_cache_path}.")
    typer.echo(f"Forgotten: {name}")


def _guarded(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it; what a person can mend is a Problem."""
    import uvloop

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work())
    except (CacheError, ListenError, OverridesInvalid) as error:
        raise Problem(str(error)) from error


async def _with_cache(settings: Settings, work: Callable[[SqliteCache], Coroutine[Any, Any, T]]) -> T:
    path = settings.sender_cache_path
    if not path.exists():
        raise Problem(f"There is no cache at {path}.")
    cache = SqliteCache(path, settings.sender.max_domains)
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
    lines += [f"  {host.name}: {host.state} {host.reason}".rstrip() for host in found.dane.hosts]
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
        ends = f"fetched {_when(cached.fetched_at)}, ends {_when(cached.expires_at)}"
        lines.append(f"Cache: id {cached.policy_id}, mode {cached.policy.mode}, {ends}")
        if failure is not None:
            lines.append(f"  {failure.count} refreshes have failed since: {failure.reason}")
    lines.append(f"Fetch: {found.fetch}")
    policy = found.sts.policy
    if policy is not None:
        lines.append(
            f"Policy: {policy.mode}, kept for {policy.max_age_seconds} seconds, mx {' '.join(policy.mx)}"
        )
    return lines


def _when(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _printable(text: str) -> str:
    """Strangers' text, without what could drive a terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
