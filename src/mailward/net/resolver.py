"""DNS lookups: through resolvers, or from a zone's own servers, which know of a change at once.

Nothing here raises for what DNS answers or does not answer: an Answer says what was found, or why not. Every
lookup has a total deadline; answers are bounded by the 64 KiB of a DNS message and by the length of the CNAME
chain.
"""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast, overload

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import msgspec

from mailward import config
from mailward.core.places import parse_place
from mailward.net import clock, dnsexchange, quickdns
from mailward.net.answers import (
    MAX_CHAIN,
    Answer,
    Status,
    merge_addresses,
    name_text,
    read_answer,
    read_signed,
    transpose,
)
from mailward.net.guard import Guard, make_guard
from mailward.net.ways import has_way, name_family

__all__ = ["Answer", "CachingResolver", "Resolver", "Server", "Status", "make_resolver", "of_those_in_reach"]

Kind = Literal["A", "AAAA", "CAA", "CNAME", "DS", "MX", "NS", "PTR", "SOA", "TLSA"]

_ATTEMPT_SECONDS = 2.0  # for one server to answer, before the next is asked
_MAX_AUTHORITIES = 6  # servers of one zone that are tried
_MAX_EVERY = 26  # addresses of one zone's servers where each is asked: the root has as many
_EDNS_PAYLOAD = 1232  # DNS flag day 2020: fits every path unfragmented


class Server(NamedTuple):
    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class _NameServer:
    """One of a zone, by name; each of the settings' override is one of its own."""

    name: str
    in_reach: tuple[Server, ...]
    """Where this machine has a way to."""
    out_of_reach: tuple[Server, ...] = ()
    trouble: str = ""
    """Why not all of its addresses are known."""

    def unheard(self) -> dict[str, Answer[str] | Answer[bytes]]:
        """What is to be told of it, where it has no address that can be asked."""
        if self.in_reach:
            return {}
        if (
            self.trouble
        ):  # it may have an address that can be asked: that one is not heard is no reason to leave it out
            return {self.name: Answer(Status.FAILED, reason=self.trouble)}
        return {
            str(server): Answer(
                Status.FAILED,
                reason=f"it cannot be reached from here (no way out over {name_family(server.address)})",
                is_out_of_reach=True,
            )
            for server in self.out_of_reach[:1]  # it is told of once, however many it says it has
        }


class _NoAnswer(Exception):
    """No server gave a usable response; the text says why."""


class Resolver:
    def __init__(
        self,
        servers: Sequence[str] = (),
        authoritative_override: Sequence[str] = (),
        *,
        timeout_seconds: float = 5.0,
        guard: Guard = Guard(),  # noqa: B008 - frozen
        authority_port: int = 53,
    ) -> None:
        """Servers are `address` or `address:port`; without `servers`, those of /etc/resolv.conf.

        `timeout_seconds` bounds one lookup in all; one from a zone's own servers may take twice as long.
        Raises ValueError for what is no server.
        """
        self._servers = [Server(*parse_place(text, 53)) for text in servers] or _system_servers()
        self._override = [Server(*parse_place(text, 53)) for text in authoritative_override]
        self._timeout_seconds = timeout_seconds
        self._guard = guard
        self._authority_port = authority_port
        self._quick = quickdns.QuickDns()

    @property
    def servers(self) -> tuple[Server, ...]:
        return tuple(self._servers)

    @property
    def is_local(self) -> bool:
        """Whether all resolvers are on loopback, so that nobody on a network can forge their AD bit."""
        return bool(self._servers) and all(
            ipaddress.ip_address(server.address).is_loopback for server in self._servers
        )

    @overload
    async def lookup(self, name: str, rdtype: Literal["TXT"]) -> Answer[bytes]: ...
    @overload
    async def lookup(self, name: str, rdtype: Kind) -> Answer[str]: ...
    async def lookup(self, name: str, rdtype: Kind | Literal["TXT"]) -> Answer[str] | Answer[bytes]:
        """Ask the resolvers. CNAMEs are followed, and shown in `chain`."""
        try:
            return await self._lookup(name, rdtype)
        except _NoAnswer as error:
            return Answer(Status.FAILED, reason=str(error))

    async def txt(self, name: str) -> Answer[bytes]:
        return await self.lookup(name, "TXT")

    async def mx(self, name: str) -> Answer[str]:
        """The MX hosts by preference, then name. A null MX (RFC 7505) is `nodata` with that reason."""
        answer = await self.lookup(name, "MX")
        ordered = sorted(
            (int(preference), host) for preference, _, host in (r.partition(" ") for r in answer.records)
        )
        hosts = tuple(dict.fromkeys(host for _, host in ordered if host not in (".", "")))
        if answer.found and not hosts:
            return msgspec.structs.replace(
                answer, status=Status.NODATA, records=(), reason="null MX: the domain takes no mail"
            )
        return msgspec.structs.replace(answer, records=hosts)

    async def addresses(self, name: str) -> Answer[str]:
        """The IPv6 and IPv4 addresses, alternating, so that a broken family costs one attempt only."""
        four, six = await asyncio.gather(self.lookup(name, "A"), self.lookup(name, "AAAA"))
        return merge_addresses(four, six)

    @overload
    async def lookup_authoritative(self, name: str, rdtype: Literal["TXT"]) -> Answer[bytes]: ...
    @overload
    async def lookup_authoritative(self, name: str, rdtype: Kind) -> Answer[str]: ...
    async def lookup_authoritative(
        self, name: str, rdtype: Kind | Literal["TXT"]
    ) -> Answer[str] | Answer[bytes]:
        """Ask the servers of the name's own zone, past every cache; a CNAME elsewhere is followed there."""
        return await _bounded(2 * self._timeout_seconds, lambda: self._lookup_authoritative(name, rdtype))

    async def addresses_authoritative(self, name: str) -> Answer[str]:
        four, six = await asyncio.gather(
            self.lookup_authoritative(name, "A"), self.lookup_authoritative(name, "AAAA")
        )
        return merge_addresses(four, six)

    async def delegation(self, name: str) -> Answer[str]:
        """The NS records by which the zone above hands the name on, from a server of that zone; whether those servers
        answer does not matter.
        """
        return cast(
            "Answer[str]",
            await _bounded(2 * self._timeout_seconds, lambda: self._delegation(_parse_name(name))),
        )

    async def delegation_signer(self, name: str) -> Answer[str]:
        """The DS records of the name's zone, from a server of the zone above (RFC 4035 section 3.1.4.1). Nothing proves
        them here: `nodata` says that the zone is not signed, as far as nobody on the path forges it; `failed`, not.

        With an override the resolvers are asked.
        """
        return cast(
            "Answer[str]",
            await _bounded(2 * self._timeout_seconds, lambda: self._delegation_signer(_parse_name(name))),
        )

    async def _delegation_signer(self, name: dns.name.Name) -> Answer[str] | Answer[bytes]:
        zone = await self._find_zone(name)
        if self._override:
            return await self._lookup(name_text(zone), "DS")
        above, servers = await self._find_authorities(zone.parent())
        return read_answer(await self._ask(servers, zone, "DS", recursive=False), zone, "DS", above)

    async def _delegation(self, name: dns.name.Name) -> Answer[str]:
        _, servers = await self._find_authorities(name.parent())
        reason = ""
        for server in servers:
            query = dns.message.make_query(name, "NS", use_edns=0, payload=_EDNS_PAYLOAD)
            query.flags = dns.flags.RD if self._override else dns.flags.Flag(0)
            try:
                response = await self._exchange(query, server)
            except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
                reason = f"{server}: {_describe(error)}"
                continue
            # a referral has them in its authority section, without AA (RFC 1034 §4.3.2)
            found = [rrset for rrset in (*response.answer, *response.authority) if rrset.name == name]
            names = [rrset for rrset in found if rrset.rdtype == dns.rdatatype.NS]
            if names:
                hosts = tuple(name_text(rdata.target) for rdata in list(names[0])[:_MAX_EVERY])
                return Answer(Status.FOUND, hosts, ttl=names[0].ttl)
            return Answer(Status.NODATA)
        raise _NoAnswer(reason or "no server of the zone above could be asked")

    async def lookup_everywhere(
        self, name: str, rdtype: Kind | Literal["TXT"], *, with_signatures: bool = False
    ) -> dict[str, Answer[str] | Answer[bytes]]:
        """Ask each server of the name's own zone, past caches: `address:port` -> its answer.

        Where a CNAME leads to another zone, the servers of that one are asked in place of those that said so. Whoever
        cannot be asked is there with `failed`; an empty place says why no server is known. Of a name server with
        addresses of both families, those are left out that this machine has no way to; one with no others is there
        with `is_out_of_reach`: see `of_those_in_reach`.
        """
        deadline = 4 * self._timeout_seconds
        try:
            async with asyncio.timeout(deadline):
                return await self._everywhere(name, rdtype, MAX_CHAIN, with_signatures)
        except TimeoutError:
            return {"": Answer(Status.FAILED, reason=f"no answer within {deadline:g} seconds")}

    async def _everywhere(
        self, name: str, rdtype: str, depth: int, with_signatures: bool
    ) -> dict[str, Answer[str] | Answer[bytes]]:
        try:
            qname = _parse_name(name)
            zone, name_servers = await self._find_name_servers(qname, _MAX_EVERY)
        except _NoAnswer as error:
            return {"": Answer(Status.FAILED, reason=str(error))}
        servers = _in_turn(name_servers)[:_MAX_EVERY]
        answers = await asyncio.gather(
            *(self._ask_one(server, qname, rdtype, zone, with_signatures) for server in servers)
        )
        found: dict[str, Answer[str] | Answer[bytes]] = {}
        for each in name_servers:
            found |= each.unheard()
        elsewhere: dict[str, None] = {}
        for server, answer in sorted(zip(servers, answers, strict=True), key=lambda pair: pair[0]):
            last = dns.name.from_text(answer.chain[-1]) if answer.chain else qname
            is_last = answer.found or not answer.chain or not depth
            if is_last or zone is None or await self._is_in(last, zone):
                found[str(server)] = answer
            else:
                elsewhere[answer.chain[-1]] = None
        for alias in elsewhere:
            found |= await self._everywhere(alias, rdtype, depth - 1, with_signatures)
        return found

    async def _is_in(self, name: dns.name.Name, zone: dns.name.Name) -> bool:
        """False below a cut too: servers of the zone say of what they hand on no more than where it is."""
        try:
            return name.is_subdomain(zone) and await self._find_zone(name) == zone
        except _NoAnswer:
            return True

    async def _ask_one(
        self,
        server: Server,
        name: dns.name.Name,
        rdtype: str,
        zone: dns.name.Name | None,
        with_signatures: bool,
    ) -> Answer[str] | Answer[bytes]:
        try:
            response = await self._ask(
                [server], name, rdtype, recursive=bool(self._override), with_signatures=with_signatures
            )
        except _NoAnswer as error:
            return Answer(Status.FAILED, reason=str(error))
        return msgspec.structs.replace(
            read_answer(response, name, rdtype, zone),
            authenticated=False,
            signed=read_signed(response, name, rdtype) if with_signatures else None,
        )

    async def _exchange(self, query: dns.message.Message, server: Server) -> dns.message.Message:
        seconds = min(_ATTEMPT_SECONDS, self._timeout_seconds / 2)
        return await dnsexchange.ask(query, server.address, server.port, seconds, self._quick)

    async def _lookup(self, name: str, rdtype: str) -> Answer[str] | Answer[bytes]:
        """Within `timeout_seconds`. Raises _NoAnswer."""
        deadline = asyncio.get_running_loop().time() + self._timeout_seconds
        wire, tried = None, 0
        query = quickdns.build_query(name, rdtype) if self._servers else None
        if query is not None:
            server, attempt_seconds = self._servers[0], min(_ATTEMPT_SECONDS, self._timeout_seconds / 2)
            try:
                wire = await self._quick.exchange(query, server.address, server.port, attempt_seconds)
            except OSError:  # TimeoutError too
                tried = 1
            else:
                if (answer := quickdns.read_response(wire, query)) is not None:
                    return answer
        try:
            async with asyncio.timeout_at(deadline):
                if wire is not None:
                    return await self._read_unusual(wire, name, rdtype)
                return await self._lookup_thoroughly(name, rdtype, tried)
        except TimeoutError as error:
            raise _NoAnswer(f"no answer within {self._timeout_seconds:g} seconds") from error

    async def _read_unusual(
        self, wire: bytes, name: str, rdtype: str, server: Server | None = None
    ) -> Answer[str] | Answer[bytes]:
        """What dnspython makes of it: aliases and the like. What it cannot use either is one attempt that failed."""
        qname, server = _parse_name(name), server or self._servers[0]
        try:
            # RFC 7672 §2.2: a malformed TLSA record is an unusable one, and no reason to know nothing of the others
            response = await dnsexchange.read_message(
                wire, ignore_trailing=True, raise_on_truncation=True, continue_on_error=rdtype == "TLSA"
            )
        except dns.message.Truncated:
            query = dns.message.make_query(qname, rdtype, use_edns=0, payload=_EDNS_PAYLOAD)
            query.flags = dns.flags.RD | dns.flags.AD
            try:
                response = await dnsexchange.ask_by_tcp(query, server.address, server.port, _ATTEMPT_SECONDS)
            except (dns.exception.DNSException, OSError, EOFError, ValueError):
                return await self._lookup_thoroughly(name, rdtype, tried=1)
        except (dns.exception.DNSException, ValueError):
            return await self._lookup_thoroughly(name, rdtype, tried=1)
        if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return await self._lookup_thoroughly(name, rdtype, tried=1)
        answer = read_answer(response, qname, rdtype)
        if response.errors and not answer.found:
            if not answer.chain:
                return await self._lookup_thoroughly(name, rdtype, tried=1)
            # behind an alias, and all of them malformed
            return Answer(Status.FOUND, ("\\# 0",), answer.authenticated, answer.ttl, answer.chain)
        return answer

    async def _lookup_thoroughly(self, name: str, rdtype: str, tried: int = 0) -> Answer[str] | Answer[bytes]:
        qname = _parse_name(name)
        response = await self._ask(self._servers, qname, rdtype, recursive=True, tried=tried)
        return read_answer(response, qname, rdtype)

    async def _lookup_authoritative(self, name: str, rdtype: str) -> Answer[str] | Answer[bytes]:
        qname, chain = _parse_name(name), tuple[str, ...]()
        for _ in range(MAX_CHAIN):
            zone, servers = await self._find_authorities(qname)
            response = await self._ask(servers, qname, rdtype, recursive=bool(self._override))
            answer = read_answer(response, qname, rdtype, zone)
            answer = msgspec.structs.replace(answer, chain=chain + answer.chain, authenticated=False)
            if answer.status in (Status.FOUND, Status.FAILED) or len(answer.chain) == len(chain):
                return answer
            last = dns.name.from_text(answer.chain[-1])
            if zone is not None and last.is_subdomain(zone):
                return answer
            qname, chain = last, answer.chain
        raise _NoAnswer(f"more than {MAX_CHAIN} CNAMEs from {name}")

    async def _find_authorities(
        self, name: dns.name.Name, limit: int = _MAX_AUTHORITIES
    ) -> tuple[dns.name.Name | None, list[Server]]:
        """The zone of the name and its servers, so many at most; with an override, no zone in particular.

        Those that this machine has no way to are left out. Raises _NoAnswer.
        """
        zone, name_servers = await self._find_name_servers(name, limit)
        servers = _in_turn(name_servers)
        if not servers:
            unheard = [
                f"{place}: {answer.reason}"
                for each in name_servers
                for place, answer in each.unheard().items()
            ]
            raise _NoAnswer(unheard[0] if unheard else "no name server is known")
        return zone, servers[:limit]

    async def _find_name_servers(
        self, name: dns.name.Name, limit: int
    ) -> tuple[dns.name.Name | None, list[_NameServer]]:
        """Those of which something is to be told. Raises _NoAnswer."""
        if self._override:
            return None, [_sort_by_way(str(server), [server]) for server in self._override]
        zone = await self._find_zone(name)
        answer = read_answer(await self._ask(self._servers, zone, "NS", recursive=True), zone, "NS")
        hosts = [str(host) for host in answer.records[:limit]]
        found = await asyncio.gather(*(self._find_name_server(host) for host in hosts))
        known = [each for each in found if each.in_reach or each.unheard()]
        if not known:
            raise _NoAnswer(f"the name servers of {name_text(zone)} have no address that may be asked")
        return zone, known

    async def _find_zone(self, name: dns.name.Name) -> dns.name.Name:
        """The closest ancestor (or the name itself) with a SOA record."""
        while name != dns.name.root:
            response = await self._ask(self._servers, name, "SOA", recursive=True)
            for rrset in [*response.answer, *response.authority]:
                if (
                    rrset.rdtype == dns.rdatatype.SOA
                    and name.is_subdomain(rrset.name)
                    and rrset.name != dns.name.root
                ):
                    return rrset.name
            name = name.parent()
        raise _NoAnswer("no zone was found")

    async def _find_name_server(self, host: str) -> _NameServer:
        families = await asyncio.gather(self.lookup(host, "A"), self.lookup(host, "AAAA"))
        allowed = [each for answer in families for each in answer.records if self._guard.allows(each)]
        servers = [Server(address, self._authority_port) for address in allowed[: 2 * _MAX_EVERY]]
        failed = [answer.reason for answer in families if answer.status is Status.FAILED]
        return _sort_by_way(
            host, servers, f"its addresses cannot be looked up: {failed[0]}" if failed else ""
        )

    async def _ask(
        self,
        servers: Sequence[Server],
        name: dns.name.Name,
        rdtype: str,
        *,
        recursive: bool,
        tried: int = 0,
        with_signatures: bool = False,
    ) -> dns.message.Message:
        """The first usable response, two rounds over the servers, of which `tried` have failed already. Raises
        _NoAnswer.
        """
        if not servers:
            raise _NoAnswer("no DNS server is configured")
        reason = ""
        for server in [*servers, *servers][tried:]:
            query = dns.message.make_query(
                name, rdtype, use_edns=0, payload=_EDNS_PAYLOAD, want_dnssec=with_signatures
            )
            query.flags = (dns.flags.RD | dns.flags.AD) if recursive else dns.flags.Flag(0)
            try:
                response = await self._exchange(query, server)
            except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
                reason = f"{server}: {_describe(error)}"
                continue
            rcode = response.rcode()
            lame = not recursive and not response.flags & dns.flags.AA
            if rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) and not lame:
                return response
            reason = (
                f"{server} is no authority for the name"
                if lame
                else f"{server} answers {dns.rcode.to_text(rcode)}"
            )
        raise _NoAnswer(reason)


class CachingResolver(Resolver):
    """Keeps answers of `lookup` for their TTL, an hour at most: for DKIM keys, which many reports share."""

    MAX_ENTRIES = 10_000
    MAX_SECONDS = 3600

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - passed on as they are
        super().__init__(*args, **options)
        self._kept: OrderedDict[tuple[str, str], tuple[float, Answer[str] | Answer[bytes]]] = OrderedDict()

    async def _lookup(self, name: str, rdtype: str) -> Answer[str] | Answer[bytes]:
        key = (name.lower().removesuffix("."), rdtype)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > clock.monotonic():
            self._kept.move_to_end(key)
            return kept[1]
        answer = await super()._lookup(name, rdtype)
        if answer.ttl > 0:
            self._kept[key] = (clock.monotonic() + min(answer.ttl, self.MAX_SECONDS), answer)
            self._kept.move_to_end(key)
            if len(self._kept) > self.MAX_ENTRIES:
                self._kept.popitem(last=False)
        return answer


def make_resolver(settings: config.Dns) -> Resolver:
    return Resolver(settings.resolvers, settings.authoritative_override, guard=make_guard(settings))


def of_those_in_reach(
    answers: Mapping[str, Answer[str] | Answer[bytes]],
) -> dict[str, Answer[str] | Answer[bytes]]:
    """Of `lookup_everywhere`, without the servers that this machine can never ask; all, where it can ask none."""
    return {place: each for place, each in answers.items() if not each.is_out_of_reach} or dict(answers)


def _sort_by_way(name: str, servers: Sequence[Server], trouble: str = "") -> _NameServer:
    with_way = {server: has_way(server.address) for server in servers}
    return _NameServer(
        name,
        tuple(server for server, is_there in with_way.items() if is_there),
        tuple(server for server, is_there in with_way.items() if not is_there),
        trouble,
    )


def _in_turn(name_servers: Sequence[_NameServer]) -> list[Server]:
    """One address of each before a second of any."""
    return list(
        dict.fromkeys(server for row in transpose([each.in_reach for each in name_servers]) for server in row)
    )


async def _bounded(
    seconds: float, work: Callable[[], Awaitable[Answer[str] | Answer[bytes]]]
) -> Answer[str] | Answer[bytes]:
    try:
        async with asyncio.timeout(seconds):
            return await work()
    except TimeoutError:
        return Answer(Status.FAILED, reason=f"no answer within {seconds:g} seconds")
    except _NoAnswer as error:
        return Answer(Status.FAILED, reason=str(error))


def _parse_name(name: str) -> dns.name.Name:
    try:
        return dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise _NoAnswer(f"{name[:80]!r} is no name that DNS can hold") from error


def _system_servers() -> list[Server]:
    try:
        system = dns.resolver.Resolver()
    except dns.exception.DNSException:
        return []  # no /etc/resolv.conf: lookups then say that no server is configured
    return [Server(address, system.port) for address in system.nameservers if isinstance(address, str)][:3]


def _describe(error: Exception) -> str:
    if isinstance(error, dns.exception.Timeout | TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
