"""The resolvers: everything that Mailward finds out about domains goes through them."""

import asyncio

from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.asking import NotAsked
from mailward.doctor.places import shown
from mailward.doctor.subject import Findings, Subject, good, unseen
from mailward.net.dnssec import Trust, check_validation
from mailward.net.resolver import Server
from mailward.net.zonelook import NotServed, ask_resolver
from mailward.store.queries import installation

_ROOT = "."
_FIX = 'apt-get install unbound, then [dns] resolvers = ["127.0.0.1"]'


async def look_at_resolver(subject: Subject) -> Findings:
    servers = subject.resolver.servers
    if not servers:
        yield tell("no-resolver", "/etc/resolv.conf names no resolver, and neither do the settings", _FIX)
        return
    states = await asyncio.gather(*(_ask(server) for server in servers))
    silent = [finding for state in states for finding in state]
    is_deaf = [each.code for each in silent] == ["resolver-silent"] * len(servers)
    if is_deaf and subject.is_trial:
        yield unseen(f"no resolver answers at {_names(servers)}: for trying things here none is needed")
        return
    for finding in silent:
        yield finding
    if is_deaf:
        return
    if not silent:
        yield good(f"{_names(servers)} answers over UDP and TCP, with EDNS")
    sender = subject.settings.sender
    validation = await check_validation(subject.resolver, sender.dnssec_secure_name, sender.dnssec_bogus_name)
    if validation.trust is Trust.VALIDATES:
        yield good(validation.reason)
        return
    held = await _held_changes(subject)
    if validation.trust is Trust.NOT_KNOWN:
        yield unseen(f"whether it validates is not known: {validation.reason}{held}")
    elif subject.is_trial and not held:
        yield unseen(f"DNSSEC is not seen: {validation.reason}")
    else:
        yield tell("no-validation", f"{validation.reason}: DANE of the domains is not seen{held}", _FIX)


async def _held_changes(subject: Subject) -> str:
    try:
        count = await subject.ask(installation.following_domains)
    except NotAsked:
        return ""
    who = f"{count:,} domains that follow their" if count > 1 else "the domain that follows its"
    return f"; new MX hosts of {who} MX records are held where the zone is signed" if count else ""


async def _ask(server: Server) -> list[Finding]:
    over_udp, over_tcp = await asyncio.gather(
        ask_resolver(_ROOT, server.address, server.port),
        ask_resolver(_ROOT, server.address, server.port, tcp=True),
        return_exceptions=True,
    )
    place = shown(server.address, server.port)
    if isinstance(over_udp, NotServed) and isinstance(over_tcp, NotServed):
        return [tell("resolver-silent", f"{place} does not answer: {over_udp}", _FIX)]
    if isinstance(over_tcp, NotServed):
        text = f"{place} does not answer over TCP ({over_tcp}): long answers are lost"
        return [tell("resolver-no-tcp", text, f"let port {server.port}/tcp through to it")]
    if isinstance(over_udp, NotServed):
        text = f"{place} does not answer over UDP ({over_udp}): every question takes seconds"
        return [tell("resolver-no-udp", text, f"let port {server.port}/udp through to it")]
    if not over_udp:
        text = f"{place} knows no EDNS: no DNSSEC, and long answers go twice"
        return [tell("resolver-no-edns", text, _FIX)]
    return []


def _names(servers: tuple[Server, ...]) -> str:
    return ", ".join(shown(*server) for server in servers)
