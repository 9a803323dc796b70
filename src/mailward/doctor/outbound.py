"""The ways out: port 25 to MX hosts, 443 to policy hosts and CAs, 53 to the servers of zones."""

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit

from mailward.core.check.facts import Reach
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.core.places import parse_target
from mailward.doctor.asking import NotAsked
from mailward.doctor.places import shown
from mailward.doctor.subject import Findings, Subject, good, reason, unseen
from mailward.net import clock
from mailward.net.answers import Status
from mailward.net.guard import Guard
from mailward.net.mailer import own_name
from mailward.net.smtpdial import NO_ROUTE, Caller, Patience, dial
from mailward.net.tlsdial import TlsFailed, look_at_tls
from mailward.store.queries.installation import smtp_looks

_SECONDS = 6.0
_MAX_ADDRESSES = 4
_LATELY = timedelta(days=1)
_CHOSEN = Guard(allow_private=True)
_BLOCKED = (
    "many hosters block port 25 until asked: ask yours, or let another node look ([watch] from_here = false)"
)


async def look_at_outbound(subject: Subject) -> Findings:
    for found in await asyncio.gather(_smtp(subject), _https(subject), _dns(subject)):
        for finding in found:
            yield finding


async def _smtp(subject: Subject) -> list[Finding]:
    settings = subject.settings
    if not settings.doctor.smtp_target:
        return [await _smtp_by_watch(subject)]
    host, port = parse_target(settings.doctor.smtp_target, 25)
    found = []
    for address in await _addresses(subject, host):
        ehlo = settings.watch.ehlo_name or own_name()
        patience = Patience(connect=_SECONDS, answer=10.0, total=20.0)
        session = await dial(host, address, Caller(ehlo, _CHOSEN, subject.ca_file, port, patience))
        where = f"port 25 goes out to {host} at {shown(address, port)}"
        if session.reach is Reach.SPOKE:
            found.append(
                good(f"{where}: {'STARTTLS with ' + session.tls.version if session.tls else 'no STARTTLS'}")
            )
        elif "no route from here" in session.reason:
            found.append(unseen(f"there is no way out over {_family(address)}"))
        else:
            said = session.reason or f"it says {session.banner[:100]!r}"
            found.append(tell("no-way-out-25", f"{host} at {shown(address, port)}: {said}", _BLOCKED))
    return found or [unseen(f"port 25: {host} (doctor.smtp_target) has no address")]


async def _smtp_by_watch(subject: Subject) -> Finding:
    ask = 'name a mail server to ask: [doctor] smtp_target = "mx.example.org"'
    try:
        looked, answered = await subject.ask(smtp_looks, clock.now() - _LATELY)
    except NotAsked:
        return unseen("port 25: nobody to ask is named", ask)
    if not looked:
        return unseen("port 25: no MX host was looked at in the last day, and no other server is named", ask)
    if not answered:
        return tell(
            "no-way-out-25", f"none of the {looked} addresses of MX hosts answered in the last day", _BLOCKED
        )
    return good(f"port 25 goes out: {answered} of {looked} addresses of MX hosts answered in the last day")


async def _https(subject: Subject) -> list[Finding]:
    settings = subject.settings
    target = settings.doctor.https_target
    if not target and settings.acme.authorities:
        url = urlsplit(settings.acme.authorities[0].url)
        target = f"{url.hostname}:{url.port or 443}"
    if not target:
        return [unseen("port 443: nobody to ask is named", '[doctor] https_target = "www.example.org"')]
    host, port = parse_target(target, 443)
    found: list[Finding] = []
    for address in await _addresses(subject, host):
        try:
            await look_at_tls(host, address, port, ca_file=None, seconds=_SECONDS)
        except TlsFailed as error:
            found.append(good(f"port 443 goes out to {host} at {shown(address, port)} ({error})"))
        except OSError as error:
            if _has_no_route(error):
                found.append(unseen(f"there is no way out over {_family(address)}"))
            else:
                fix = "let this machine out to port 443, over IPv4 and IPv6"
                found.append(
                    tell("no-way-out-443", f"{host} at {shown(address, port)}: {reason(error)}", fix)
                )
        else:
            found.append(good(f"port 443 goes out to {host} at {shown(address, port)}"))
    return found or [unseen(f"port 443: {host} has no address")]


async def _dns(subject: Subject) -> list[Finding]:
    """To the servers of the root past the resolver, as looks at a zone's own servers go."""
    if subject.settings.dns.authoritative_override:
        return [unseen("port 53: the settings name the servers to ask (dns.authoritative_override)")]
    zone = subject.settings.nameserver.zone or next(iter(subject.settings.own_names), "")
    if not zone:
        return [unseen("port 53: there is no name of ours whose servers could be asked")]
    if (await subject.resolver.lookup(zone, "NS")).status is Status.FAILED:
        return [unseen(f"port 53: the resolver does not say which servers {zone} has")]
    answer = await subject.resolver.lookup_authoritative(zone, "SOA")
    if answer.status is Status.FAILED:
        text = f"the name servers of {zone} cannot be asked: {answer.reason}"
        return [tell("no-way-out-53", text, "let this machine out to port 53, UDP and TCP, to any address")]
    return [good(f"port 53 goes out to the name servers of {zone}")]


async def _addresses(subject: Subject, host: str) -> tuple[str, ...]:
    if ":" in host or host.replace(".", "").isdigit():
        return (host,)
    return (await subject.resolver.addresses(host)).records[:_MAX_ADDRESSES]


def _has_no_route(error: OSError) -> bool:
    return error.errno in NO_ROUTE


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"
