"""From a domain to facts: DNS, the policy host over HTTPS, and the MX hosts over SMTP."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mailward.core.check.facts import (
    UNOBSERVED,
    Facts,
    Fetch,
    Found,
    Lookup,
    MxHost,
    PolicyHost,
    Reach,
    Session,
    Tls,
    mx_names,
)
from mailward.core.dane.tlsa import owner_names
from mailward.core.names import MAX_NAME_LENGTH, Domain, is_address
from mailward.net import clock
from mailward.net.ciphers import list_ciphers
from mailward.net.fetch import Client, FetchError, fetch_policy_at
from mailward.net.guard import Guard, OwnAddressRefused
from mailward.net.mailer import own_name
from mailward.net.quota import Quota
from mailward.net.resolver import Kind, Resolver
from mailward.net.smtpdial import NO_ROUTE, Caller, Patience, dial, dial_deep
from mailward.net.tlsdial import TlsFailed, look_at_tls
from mailward.probe.targets import observe_targets

MAX_MX_HOSTS = 20
MAX_ADDRESSES = 8  # of one host and family
MAX_RECORDS = 100  # kept of one answer
MAX_CAA_NAMES = 8
CONNECTIONS_A_POLICY_ADDRESS = 3  # the policy, the chain as presented, the policy as another client
MAX_DIALS = 8  # connections at a time, for all domains; one at a time to an address
FETCH_SECONDS = 60.0  # RFC 8461 §3.3 suggests one minute
LOOK_SECONDS = 20.0
DOMAIN_SECONDS = 240.0  # no connection to an MX host of one domain is begun later: servers may stall for long
_OF_HTTP = ("status", "redirect", "media-type", "content-encoding")  # what an answer was that is no policy


@dataclass(frozen=True, slots=True)
class Ways:
    """How to look: in laboratories, other ports and authorities."""

    has_smtp: bool = True
    ca_file: Path | None = None
    """Replaces the system's authorities."""
    smtp_port: int = 25
    https_port: int = 443
    ehlo_name: str = ""
    """Empty: the machine's own name."""
    patience: Patience = field(default_factory=Patience)
    domain_seconds: float = DOMAIN_SECONDS
    is_deep: bool = False
    """Many connections more to each MX address that does TLS: versions, cipher suites, commands slipped in."""


Look = Callable[[str, str, float], Awaitable[Session]]
"""MX host, address, and until when (clock.monotonic) a connection may be begun."""


class Observer:
    """Looks at one domain after another, or at several at once; remembers what MX addresses showed."""

    def __init__(
        self,
        resolver: Resolver,
        guard: Guard,
        ways: Ways = Ways(),
        look: Look | None = None,
        quota: Quota | None = None,
    ) -> None:
        """`look`: who speaks to MX hosts instead of us, such as one that remembers what they showed yesterday.
        `quota`: how many connections an address may have; of MX hosts, `look` counts its own.
        """
        self._quota = quota
        self._look = look or self._look_once
        self._resolver, self._guard, self._ways = resolver, guard, ways
        self._dials = asyncio.Semaphore(MAX_DIALS)
        self._sessions: dict[tuple[str, str], asyncio.Future[Session]] = {}
        self._caller = Caller(
            ways.ehlo_name or own_name(), guard, ways.ca_file, ways.smtp_port, ways.patience, quota=quota
        )

    async def observe(self, domain: Domain, supposed_mx: tuple[Domain, ...] = ()) -> Facts:
        """Raises nothing for what the network does. With `supposed_mx`, as if the MX records named these hosts."""
        at, until = clock.now(), clock.monotonic() + self._ways.domain_seconds
        root, mx, sts, tlsrpt, policy_host = await asyncio.gather(
            self._resolver.lookup(".", "SOA"),
            self.look_up(domain, "MX"),
            self.look_up(f"_mta-sts.{domain}", "TXT"),
            self.look_up(f"_smtp._tls.{domain}", "TXT"),
            self._observe_policy_host(domain),
        )
        if supposed_mx:
            records = tuple(f"{10 * (at + 1)} {name}" for at, name in enumerate(supposed_mx))
            mx = replace(mx, found=Found.FOUND, records=records, reason="")
        names = mx_names(domain, mx)
        hosts, elsewhere, targets = await asyncio.gather(
            asyncio.gather(*(self._observe_host(name, until) for name in names[:MAX_MX_HOSTS])),
            self._look_elsewhere(domain, sts, tlsrpt),
            observe_targets(tlsrpt, self.look_up, self._guard, self._quota),
        )
        elsewhere += await self._look_for_tlsa(domain, mx, hosts)
        return Facts(
            domain,
            at,
            root.authenticated,
            mx,
            tuple(hosts),
            sts,
            elsewhere,
            policy_host,
            tlsrpt,
            targets,
            self._ways.has_smtp,
            len(names[MAX_MX_HOSTS:]),
        )

    async def look_up(self, name: str, kind: Kind | str) -> Lookup:
        if kind == "TXT":
            texts = await self._resolver.txt(name)
            records = tuple(text.decode("ascii", "backslashreplace") for text in texts.records[:MAX_RECORDS])
            return Lookup(
                name,
                kind,
                Found(texts.status.value),
                records,
                texts.records[:MAX_RECORDS],
                texts.authenticated,
                texts.chain,
                texts.reason,
            )
        answer = await self._resolver.lookup(name, _kind(kind))
        found = Found(answer.status.value)
        shown = answer.records[:MAX_RECORDS]
        return Lookup(name, kind, found, shown, (), answer.authenticated, answer.chain, answer.reason)

    async def _look_elsewhere(self, domain: Domain, sts: Lookup, tlsrpt: Lookup) -> tuple[Lookup, ...]:
        """Where a record that is not in its place may have got to."""
        names = []
        if not _has(sts, b"stsv1"):
            names += [domain, f"mta-sts.{domain}"]
        elif not _has(tlsrpt, b"tlsrptv1"):
            names.append(domain)
        return tuple(await asyncio.gather(*(self.look_up(name, "TXT") for name in names)))

    async def _look_for_tlsa(self, domain: Domain, mx: Lookup, hosts: Sequence[MxHost]) -> tuple[Lookup, ...]:
        """Where records for MX hosts that have none may have got to; only under DNSSEC are there any."""
        names = {host.name for host in hosts}
        has_any = any(lookup.was_found for host in hosts for lookup in host.tlsa)
        if not mx.is_secure or not names or has_any or domain in names:
            return ()
        return (await self.look_up(f"_25._tcp.{domain}", "TLSA"),)

    async def _observe_policy_host(self, domain: Domain) -> PolicyHost:
        host = f"mta-sts.{domain}"
        v4, v6 = await asyncio.gather(self.look_up(host, "A"), self.look_up(host, "AAAA"))
        addresses = v4.records[:MAX_ADDRESSES] + v6.records[:MAX_ADDRESSES]
        fetches = await asyncio.gather(*(self._fetch_within_quota(domain, address) for address in addresses))
        caa = await self._find_caa(host) if addresses else None
        return PolicyHost(v4, v6, tuple(fetches), caa, await self._fetch_as_others(domain, fetches))

    async def _fetch_within_quota(self, domain: Domain, address: str) -> Fetch:
        if self._quota is None or self._guard.is_served_here(address, self._ways.https_port):
            return await self._fetch(domain, address)
        # all at once: half of what is to be seen would look like a change
        full = await self._quota.take(address, CONNECTIONS_A_POLICY_ADDRESS)
        return Fetch(address, UNOBSERVED, full) if full else await self._fetch(domain, address)

    async def _fetch_as_others(self, domain: Domain, fetches: Sequence[Fetch]) -> Fetch | None:
        """As a plainer client where the policy is served, as a browser where it is not: to tell filters from faults."""
        served = next((fetch for fetch in fetches if fetch.has_body), None)
        answering = next((fetch for fetch in fetches if fetch.error in _OF_HTTP), None)
        if served is not None:
            return await self._fetch(domain, served.address, Client.BARE)
        if answering is not None:
            return await self._fetch(domain, answering.address, Client.BROWSER)
        return None

    async def _find_caa(self, host: str) -> Lookup | None:
        """RFC 8659 section 3: those of the closest name, from the host up, that has any."""
        labels = host.split(".")
        for at in range(min(len(labels) - 1, MAX_CAA_NAMES)):
            lookup = await self.look_up(".".join(labels[at:]), "CAA")
            if lookup.was_found or lookup.has_failed:
                return lookup
        return None

    async def _fetch(self, domain: Domain, address: str, client: Client = Client.MAILWARD) -> Fetch:
        ways = self._ways
        async with self._dials:
            try:
                result = await fetch_policy_at(
                    domain,
                    address,
                    guard=self._guard,
                    ca_file=ways.ca_file,
                    port=ways.https_port,
                    total_seconds=FETCH_SECONDS,
                    client=client,
                )
            except FetchError as error:
                fetch = failed_fetch(address, error)
            else:
                fetch = Fetch(address, body=result.body)
            if client is not Client.MAILWARD:
                return replace(fetch, client=client.value)
            if fetch.error in (UNOBSERVED, "address-refused", "connect", "connect-timeout", "timeout"):
                return fetch
            tls = await self._look_at_policy_host(f"mta-sts.{domain}", address)
        return Fetch(address, fetch.error, fetch.message, fetch.status, fetch.body, tls)

    async def _look_at_policy_host(self, host: str, address: str) -> Tls | None:
        ways = self._ways
        try:
            return await look_at_tls(
                host, address, ways.https_port, ca_file=ways.ca_file, seconds=LOOK_SECONDS
            )
        except (TlsFailed, OSError):
            return None  # the fetch has said what is wrong

    async def _observe_host(self, name: str, until: float) -> MxHost:
        if is_address(name):  # other names that no host should have are looked up: senders do it too
            return MxHost(name, Lookup(name, "A", Found.NODATA), Lookup(name, "AAAA", Found.NODATA))
        v4, v6 = await asyncio.gather(self.look_up(name, "A"), self.look_up(name, "AAAA"))
        chain = v4.chain or v6.chain
        owners = owner_names(name, chain, 25) if v4.was_found or v6.was_found else ()
        tlsa = [await self.look_up(owner, "TLSA") for owner in owners if len(owner) <= MAX_NAME_LENGTH]
        addresses = (*v4.records[:MAX_ADDRESSES], *v6.records[:MAX_ADDRESSES])
        # one after another: a host's addresses are often one machine
        sessions = [await self._look(name, address, until) for address in addresses if self._ways.has_smtp]
        return MxHost(name, v4, v6, tuple(tlsa), tuple(sessions))

    async def _look_once(self, host: str, address: str, until: float) -> Session:
        """Of each host and address once, whoever asks."""
        key = (host, address)
        if key not in self._sessions:
            self._sessions[key] = asyncio.ensure_future(self._dial(host, address, until))
        return await self._sessions[key]

    async def _dial(self, host: str, address: str, until: float) -> Session:
        async with self._dials:
            if clock.monotonic() >= until:
                return Session(address, Reach.SILENT, reason="not asked: no time was left for this domain")
            session = await dial(host, address, self._caller)
            if self._ways.is_deep and session.tls is not None:
                depth = await dial_deep(host, address, self._caller)
                ciphers = await list_ciphers(host, address, self._caller)
                session = replace(session, depth=replace(depth, ciphers=ciphers))
            return session


def _has(lookup: Lookup, version: bytes) -> bool:
    return any(version in text[:200].lower() for text in lookup.texts)


def failed_fetch(address: str, error: FetchError) -> Fetch:
    if error.code == "policy-invalid":
        return Fetch(address, body=error.body)  # the rules read it, and say what is wrong
    if error.code == OwnAddressRefused.code:
        return Fetch(address, UNOBSERVED, str(error).partition(": ")[2])
    cause = error.__cause__
    if error.code == "connect" and isinstance(cause, OSError) and cause.errno in NO_ROUTE:
        return Fetch(address, UNOBSERVED, "no route from here")
    return Fetch(address, error.code, str(error), error.status)


def _kind(kind: str) -> Kind:
    match kind:
        case "A" | "AAAA" | "CAA" | "MX" | "TLSA" | "SOA":
            return kind
        case _:
            raise ValueError(f"{kind} is not looked up here")
