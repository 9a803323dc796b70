"""A name as our resolver tells it, and as the servers of its own zone tell the world: each of them, both families."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.subject import good, unseen
from mailward.net.answers import Answer, Status
from mailward.net.introduction import own_address
from mailward.net.resolver import Resolver

_EXAMPLES = {"A": "192.0.2.1", "AAAA": "2001:db8::1"}
_FAMILIES = {"A": "IPv4", "AAAA": "IPv6"}
_SHOWN = 6
_Kind = Literal["A", "AAAA", "MX"]


@dataclass(frozen=True, slots=True)
class Seen:
    """The records of one type at one name."""

    name: str
    kind: _Kind
    here: Answer[str]
    """From the resolver."""
    world: Mapping[str, frozenset[str]]
    """Server -> what it says; empty where none could be asked."""
    trouble: str
    """Why one could not."""

    @property
    def records(self) -> frozenset[str]:
        """Those of the world, and those of the resolver where nobody else could be asked."""
        found = self.world.values() if self.world else (self.known,)
        return frozenset().union(*found)

    @property
    def known(self) -> frozenset[str]:
        return frozenset(self.here.records)

    @property
    def is_known(self) -> bool:
        return bool(self.world) or self.here.status is not Status.FAILED


@dataclass(frozen=True, slots=True)
class SeenHost:
    name: str
    four: Seen
    six: Seen


@dataclass(frozen=True, slots=True)
class SeenMail:
    domain: str
    mx: Seen
    host: SeenHost
    """RFC 5321 section 5.1: the domain itself, where it has no MX records."""

    @property
    def hosts(self) -> list[str]:
        """In the order of their preference."""
        ordered = sorted((int(text.split()[0]), text.split()[-1]) for text in self.mx.records)
        return list(dict.fromkeys(host.lower().removesuffix(".") for _, host in ordered if host != "."))


async def look_at_host(resolver: Resolver, name: str) -> SeenHost:
    return SeenHost(name, *await asyncio.gather(_see(resolver, name, "A"), _see(resolver, name, "AAAA")))


async def look_at_mx(resolver: Resolver, domain: str) -> SeenMail:
    mx, host = await asyncio.gather(_see(resolver, domain, "MX"), look_at_host(resolver, domain))
    return SeenMail(domain, mx, host)


async def _see(resolver: Resolver, name: str, kind: _Kind) -> Seen:
    here, everywhere = await asyncio.gather(
        resolver.lookup(name, kind), resolver.lookup_everywhere(name, kind)
    )
    world = {
        server: frozenset(str(record) for record in answer.records)
        for server, answer in everywhere.items()
        if answer.status is not Status.FAILED
    }
    trouble = "; ".join(
        f"{server or name}: {answer.reason}"
        for server, answer in everywhere.items()
        if answer.status is Status.FAILED
    )
    return Seen(name, kind, here, world, trouble)


def tell_host(seen: SeenHost, *, is_ours: bool = True) -> Iterator[Finding]:
    """`is_ours` False: it may be another machine's, as an MX host in front is."""
    name, both = seen.name, (seen.four, seen.six)
    found = [record for each in both for record in sorted(each.records)]
    if not found and not all(each.is_known for each in both):
        reason = next(each.here.reason or each.trouble for each in both if not each.is_known)
        yield unseen(f"{name} cannot be looked up: {reason}")
        return
    if not found:
        text = f"{name} has no address in DNS{_but_here(both)}"
        yield tell("no-address", text, f"{_record(name, 'A')}\n{_record(name, 'AAAA')}")
        return
    private = [each for each in found if not ipaddress.ip_address(each).is_global]
    if private:
        text = f"{name} leads to {private[0]}, which nobody outside of your network reaches"
        yield tell("private-address", text, _record(name, "AAAA" if ":" in private[0] else "A"))
    elif all(each.world for each in both):
        yield good(f"{name} leads to {', '.join(found[:_SHOWN])}, as the servers of its zone tell the world")
    else:
        yield good(f"{name} leads to {', '.join(found[:_SHOWN])}")
    if is_ours:
        yield from _missing_family(seen)
    for each in both:
        yield from _compare(each)


def tell_mx(seen: SeenMail, public_name: str) -> Iterator[Finding]:
    """Of the domain for reports. `public_name`: of a host that could be its MX."""
    domain, addresses = seen.domain, (seen.host.four, seen.host.six)
    if not seen.mx.is_known:
        yield unseen(f"the MX records of {domain} cannot be looked up: {seen.mx.here.reason}")
        return
    if seen.hosts:
        yield good(f"{domain} has the MX {', '.join(seen.hosts[:_SHOWN])}")
    elif not seen.mx.records and any(each.records for each in addresses):
        yield good(f"{domain} has no MX record, and takes mail at its address")
        for each in addresses:
            yield from _compare(each)
    elif seen.mx.records:
        text = f"{domain} says that it takes no mail (a null MX, RFC 7505): no report can be delivered"
        yield tell("no-mx", text, f"{domain}. IN MX 10 {public_name}.")
    elif not all(each.is_known for each in addresses):
        yield unseen(f"{domain} has no MX record, and its address cannot be looked up")
    else:
        text = f"no mail can reach {domain}: it has neither MX nor address{_but_here((seen.mx,))}"
        yield tell("no-mx", text, f"{domain}. IN MX 10 {public_name}.")
    yield from _compare(seen.mx)


def _missing_family(seen: SeenHost) -> Iterator[Finding]:
    """Those without IPv4 are reached by few; one for IPv6 is asked for where this machine has it."""
    name = seen.name
    if seen.four.is_known and not seen.four.records:
        text = f"{name} has no IPv4 address: senders without IPv6 do not reach it"
        yield tell("no-ipv4", text, _record(name, "A"))
    own = own_address(socket.AF_INET6)
    if seen.six.is_known and not seen.six.records and own and ipaddress.ip_address(own).is_global:
        text = f"{name} has no IPv6 address, and this machine has one"
        yield tell("no-ipv6", text, _record(name, "AAAA"))


def _compare(seen: Seen) -> Iterator[Finding]:
    """What is told here, there and elsewhere. A part in common is enough: large services give out some of many."""
    kind = _FAMILIES.get(seen.kind, "MX")
    groups: dict[frozenset[str], list[str]] = {}
    for server, records in seen.world.items():
        groups.setdefault(records, []).append(server)
    if len(groups) > 1 and not frozenset.intersection(*groups):
        said = "; ".join(f"{', '.join(servers)}: {_show(records)}" for records, servers in groups.items())
        text = f"the servers of the zone of {seen.name} do not agree ({kind}): {said}"
        fix = (
            "a moment after a change that passes; else let the secondaries fetch the zone, and compare its serial at "
            f"each: dig +norecurse @SERVER {seen.name} SOA"
        )
        yield tell("zone-servers-differ", text, fix)
        return
    if not seen.world or seen.here.status is Status.FAILED:
        return
    if seen.known & seen.records or seen.known == seen.records:
        return
    text = (
        f"our resolver says {_show(seen.known)} for {seen.name} ({kind}), and the servers of its zone tell the world "
        f"{_show(seen.records)}"
    )
    wait = f"after a change that passes within {seen.here.ttl} seconds; else " if seen.here.ttl else ""
    fix = (
        f"{wait}the resolver has a view of its own: put the same records into it, or ask one that asks the world: "
        '[dns] resolvers = ["127.0.0.1"] with unbound'
    )
    yield tell("resolver-differs", text, fix)


def _but_here(seen: tuple[Seen, ...]) -> str:
    known = frozenset().union(*(each.known for each in seen if each.world))
    return f", though our resolver says {_show(known)}" if known else ""


def _show(records: frozenset[str]) -> str:
    return ", ".join(sorted(records)[:_SHOWN]) or "nothing"


def _record(name: str, kind: str) -> str:
    return f"{name}. IN {kind} {own_record(kind)}"


def own_record(kind: str) -> str:
    """The address of this machine to put into a record; an example where it has none of the Internet."""
    found = own_address(socket.AF_INET6 if kind == "AAAA" else socket.AF_INET)
    return found if found and ipaddress.ip_address(found).is_global else _EXAMPLES[kind]
