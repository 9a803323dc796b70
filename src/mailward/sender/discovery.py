"""What DNS and HTTPS say of a domain now: facts, not judgements. Remembers nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mailward.config import Settings
from mailward.core.dane.judge import DaneFinding, Host, HostState, Outcome, judge
from mailward.core.dane.tlsa import count_usable, owner_names
from mailward.core.mtasts.record import NoRecord, Record, RecordError, parse_record
from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.core.postfix.nexthop import NextHop
from mailward.net.fetch import FetchResult, fetch_policy, make_tls_context
from mailward.net.guard import Guard, make_guard
from mailward.net.resolver import Answer, Resolver, Status

MAX_MX_HOSTS = 32  # looked at; a domain with more is judged partial by the rest
FETCH_SECONDS = 20.0  # RFC 8461 §3.3 suggests a minute; nobody waits for it longer than five seconds
FETCH_CONNECT_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class RecordFinding:
    record: Record | None
    has_failed: bool = False
    """The lookup failed: there may be a record."""
    reason: str = ""
    ttl_seconds: int = 0
    """Of the answer; for an absent record as its SOA says, 0 without one."""


class Discovery:
    def __init__(
        self, resolver: Resolver, guard: Guard, *, ca_file: Path | None = None, port: int = 443
    ) -> None:
        self.resolver = resolver
        self._guard = guard
        self._ca_file = ca_file
        self._port = port

    async def find_record(self, domain: Domain) -> RecordFinding:
        name = f"_mta-sts.{domain}"
        answer = await self.resolver.txt(name)
        if answer.status is Status.FAILED:
            return RecordFinding(None, has_failed=True, reason=f"TXT {name}: {answer.reason}")
        try:
            return RecordFinding(parse_record(answer.records), ttl_seconds=answer.ttl)
        except NoRecord:
            return RecordFinding(None, reason=f"no record at {name}", ttl_seconds=answer.ttl)
        except RecordError as error:
            return RecordFinding(None, reason=f"{name}: {error}", ttl_seconds=answer.ttl)

    async def fetch(self, domain: Domain) -> FetchResult:
        """Raises FetchError."""
        return await fetch_policy(
            domain,
            resolver=self.resolver,
            guard=self._guard,
            ca_file=self._ca_file,
            port=self._port,
            connect_seconds=FETCH_CONNECT_SECONDS,
            total_seconds=FETCH_SECONDS,
        )

    async def find_dane(self, nexthop: NextHop) -> tuple[DaneFinding, int]:
        """The finding, and for how many seconds DNS lets it be kept."""
        if nexthop.port is None:
            return judge(Outcome.INSECURE, (), "the port is not known by its name"), 3600
        if nexthop.is_host:
            host, ttl = await self._look_at_host(nexthop.domain, nexthop.port)
            return judge(Outcome.SECURE, [host]), ttl
        answer = await self.resolver.mx(nexthop.domain)
        mx = _outcome(answer)
        if mx is Outcome.FAILED:
            return judge(mx, (), f"MX {nexthop.domain}: {answer.reason}"), 0
        if mx is Outcome.INSECURE:
            # unsigned zones are not asked for more: some of their servers fail on TLSA queries
            return judge(mx, ()), answer.ttl
        # RFC 5321 §5.1: without MX records the domain is its own host; a null MX names nobody
        names = [nexthop.domain] if mx is Outcome.ABSENT and not answer.reason else list(answer.records)
        looks = await asyncio.gather(
            *(self._look_at_host(name, nexthop.port) for name in names[:MAX_MX_HOSTS])
        )
        hosts = [host for host, _ in looks]
        hosts += [Host(name, HostState.WITHOUT, "not looked at") for name in names[MAX_MX_HOSTS:]]
        return judge(Outcome.SECURE, hosts), min([answer.ttl, *(ttl for _, ttl in looks)])

    async def _look_at_host(self, name: str, port: int) -> tuple[Host, int]:
        try:
            parse_domain(name, allow_single=True)
        except InvalidName as error:
            return Host(name, HostState.DEAD, f"MX host: {error}"), 3600
        addresses = await self.resolver.addresses(name)
        outcome = _outcome(addresses)
        if outcome is Outcome.FAILED:
            return Host(name, HostState.FAILED, f"A and AAAA {name}: {addresses.reason}"), 0
        if not addresses.found:
            return Host(name, HostState.DEAD, "no address"), addresses.ttl
        if outcome is Outcome.SECURE:
            return await self._look_for_tlsa(name, owner_names(name, addresses.chain, port), addresses.ttl)
        insecure = Host(name, HostState.WITHOUT, "its address is not secured by DNSSEC")
        if not addresses.chain:
            # RFC 7672 §2.2.2: TLSA is asked for only where the address is secure
            return insecure, addresses.ttl
        # RFC 7672 §2.2.2: or where the first CNAME is, which leads into a zone that is not; a query of its own tells
        alias = await self.resolver.lookup(name, "CNAME")
        if alias.status is Status.FAILED:
            return Host(name, HostState.FAILED, f"CNAME {name}: {alias.reason}"), 0
        ttl = min(addresses.ttl, alias.ttl)
        if not (alias.found and alias.authenticated):
            return insecure, ttl
        return await self._look_for_tlsa(name, owner_names(name, (), port), ttl)

    async def _look_for_tlsa(self, name: str, owners: Sequence[str], ttl: int) -> tuple[Host, int]:
        for owner in owners:
            answer = await self.resolver.lookup(owner, "TLSA")
            outcome = _outcome(answer)
            ttl = min(ttl, answer.ttl)
            if outcome is Outcome.FAILED:
                return Host(name, HostState.FAILED, f"TLSA {owner}: {answer.reason}"), 0
            if answer.found and outcome is Outcome.SECURE:
                if count_usable(answer.records):
                    return Host(name, HostState.USABLE), ttl
                return Host(name, HostState.UNUSABLE, f"no TLSA record of {owner} is usable"), ttl
        return Host(name, HostState.WITHOUT, "no TLSA records"), ttl


def make_discovery(settings: Settings, resolver: Resolver) -> Discovery:
    """Raises FetchError where the authorities of `ca_file` cannot be used."""
    ca_file = Path(settings.sender.ca_file) if settings.sender.ca_file else None
    make_tls_context(ca_file)
    return Discovery(resolver, make_guard(settings.dns), ca_file=ca_file, port=settings.sender.policy_port)


def _outcome(answer: Answer[str]) -> Outcome:
    if answer.status is Status.FAILED:
        return Outcome.FAILED
    if not answer.authenticated:
        return Outcome.INSECURE
    return Outcome.SECURE if answer.found else Outcome.ABSENT
