"""Looking at many domains: three questions each, a policy where a record announces one, and each MX host once.

    rows = survey_batch(entries, ways)      # the unit of work: a batch of domains in, rows out

`survey_batch` is a function of picklable values, for any engine that spreads work over processes; `Surveyor` is
what one process goes on using, with sockets and what it knows of MX hosts. Less is asked than by
`observe.Observer`: no policy host without a record, one address of it as a sender would, no CAA, no https
report target, and without SMTP no MX host is spoken to. Whatever happens to a domain, it becomes a row.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from math import inf
from pathlib import Path

import uvloop

from mailward.core.check.facts import Facts, Fetch, Found, Lookup, MxHost, PolicyHost, ReportTarget
from mailward.core.dane.tlsa import owner_names
from mailward.core.names import MAX_NAME_LENGTH, is_address
from mailward.core.survey.columns import Row
from mailward.core.survey.judging import Judge
from mailward.core.survey.listing import Entry
from mailward.core.survey.row import make_error_row, make_row, unasked_policy_host
from mailward.core.survey.suffixes import Suffixes
from mailward.core.tlsrpt.record import RecordError, parse_record
from mailward.net import clock
from mailward.net.answers import Answer, Status
from mailward.net.bulkdns import BulkResolver
from mailward.net.fetch import MAX_ADDRESSES as MAX_POLICY_ADDRESSES
from mailward.net.fetch import FetchError, fetch_policy_at
from mailward.net.guard import Guard
from mailward.probe.mxsessions import MxSessions
from mailward.probe.observe import MAX_ADDRESSES, MAX_MX_HOSTS, MAX_RECORDS, failed_fetch, mx_names
from mailward.probe.once import Once, Politeness

MAX_HOSTS_KNOWN = 20_000  # of one process; about a kilobyte each
MAX_TARGETS = 10
SUFFIX_LIST = Path("/usr/share/publicsuffix/public_suffix_list.dat")
_TRY_NEXT = ("connect", "connect-timeout", "unobserved")
_STS = b"stsv"
_UNASKED = unasked_policy_host("mta-sts")
"""Of every domain without a record."""
_FOUND = {status: Found(status.value) for status in Status}


@dataclass(frozen=True, slots=True)
class SurveyWays:
    """How to look. All of it can be pickled."""

    resolvers: tuple[str, ...] = ()
    """`address` or `address:port`, taken in turn; none: the system's."""
    concurrency: int = 500
    """Domains at a time in one process."""
    retries: int = 2
    """Of a DNS question, after the first try."""
    per_address: int = 4
    """Connections at a time to one address, from one process."""
    has_smtp: bool = False
    smtp_rate: float = 10.0
    """Connections to MX hosts a second."""
    sessions_file: Path | None = None
    """Where sessions with MX hosts are kept, so that none is had twice."""
    ehlo_name: str = ""
    ca_file: Path | None = None
    allow_private: bool = False
    https_port: int = 443
    smtp_port: int = 25
    dns_seconds: float = 3.0
    connect_seconds: float = 10.0
    fetch_seconds: float = 30.0
    domain_seconds: float = 120.0
    suffix_list: Path = SUFFIX_LIST


def survey_batch(entries: Sequence[Entry], ways: SurveyWays) -> list[Row]:
    """One row for each entry, in their order. Raises nothing for what the network does."""
    return uvloop.run(_survey_batch(entries, ways))


async def _survey_batch(entries: Sequence[Entry], ways: SurveyWays) -> list[Row]:
    surveyor = Surveyor(ways)
    rows: dict[int, Row] = {}
    waiting = iter(enumerate(entries))

    async def look() -> None:
        for place, entry in waiting:
            rows[place] = await surveyor.make_row(entry)

    try:
        await asyncio.gather(*(look() for _ in range(min(ways.concurrency, len(entries)))))
        return [rows[place] for place in range(len(entries))]
    finally:
        surveyor.close()


class Surveyor:
    """For one event loop. Raises ValueError for ways that cannot be gone."""

    def __init__(self, ways: SurveyWays) -> None:
        self._ways = ways
        self._guard = Guard(ways.allow_private, forbid_own=True)
        self._resolver = BulkResolver(
            ways.resolvers, attempt_seconds=ways.dns_seconds, retries=ways.retries, guard=self._guard
        )
        self._judge = Judge()
        self._suffixes = read_suffixes(ways.suffix_list)
        self._hosts = Once[MxHost](MAX_HOSTS_KNOWN)
        self._takers = Once[tuple[bool | None, str]](MAX_HOSTS_KNOWN)
        self._registered: dict[str, str] = {}
        self._addresses = Politeness(ways.per_address)
        self._validates: asyncio.Future[bool] | None = None
        self._sessions: MxSessions | None = None
        if ways.has_smtp:
            self._sessions = MxSessions(
                ways.sessions_file,
                guard=self._guard,
                rate=ways.smtp_rate,
                ca_file=ways.ca_file,
                port=ways.smtp_port,
                ehlo_name=ways.ehlo_name,
            )

    def close(self) -> None:
        self._resolver.close()
        if self._sessions is not None:
            self._sessions.close()

    async def make_row(self, entry: Entry) -> Row:
        """Raises nothing but asyncio.CancelledError."""
        at, started = clock.now(), clock.monotonic()
        error = ""
        try:
            # with SMTP, hosts wait for their turn. Asking the clock between steps, which all end by themselves, costs a
            # twentieth less of everything than asyncio.timeout does
            facts = await self.look(
                entry, at, started + self._ways.domain_seconds if self._sessions is None else inf
            )
            took = round(1000 * (clock.monotonic() - started))
            names = [self._registered_domain(host.name) for host in facts.hosts if facts.mx.was_found]
            return make_row(entry, facts, self._judge.judge(facts), took, names)
        except TimeoutError:
            error = f"not done within {self._ways.domain_seconds:g} seconds"
        except Exception as failure:  # noqa: BLE001 - one domain must not end the survey: its row says what it was
            error = f"{type(failure).__name__}: {failure}"
        return make_error_row(entry, at, round(1000 * (clock.monotonic() - started)), error)

    async def look(self, entry: Entry, at: datetime, until: float) -> Facts:
        """At `until` (clock.monotonic) no step is begun: raises TimeoutError."""
        # one question after the other: many domains are under way, and a task for each question would cost more
        domain = entry.domain
        validates = await self._ask_whether_it_validates()
        mx = await self._look_up(domain, "MX")
        sts = await self._look_up_txt(f"_mta-sts.{domain}")
        tlsrpt = await self._look_up_txt(f"_smtp._tls.{domain}")
        _check_time(until)
        names = mx_names(domain, mx)
        if mx.found is Found.NXDOMAIN:  # RFC 8020: then nothing is there
            hosts = [MxHost(name, replace(mx, kind="A"), replace(mx, kind="AAAA")) for name in names]
        else:
            hosts = []
            for name in names[:MAX_MX_HOSTS]:
                is_own = name.endswith(domain)  # nobody else's: no need to remember it
                find = self._look_at_host if is_own else self._host
                hosts.append(await find(name, validates=validates))
                _check_time(until)
        if self._sessions is not None:
            hosts = [await self._sessions.add_to(host) for host in hosts]
        if any(_STS in text[:200].lower() for text in sts.texts):
            policy_host = await self._look_at_policy_host(entry, until)
        else:
            policy_host = _UNASKED
        return Facts(
            domain,
            at,
            validates,
            mx,
            tuple(hosts),
            sts,
            (),
            policy_host,
            tlsrpt,
            await self._look_at_targets(tlsrpt, until) if tlsrpt.texts else (),
            has_smtp=self._sessions is not None,
            skipped_hosts=len(names[MAX_MX_HOSTS:]),
        )

    async def _ask_whether_it_validates(self) -> bool:
        """Once: whether the root's SOA comes with the AD bit."""
        if self._validates is None:
            self._validates = asyncio.get_running_loop().create_future()
            answer = await self._resolver.lookup(".", "SOA")
            self._validates.set_result(answer.authenticated)
        return self._validates.result() if self._validates.done() else await self._validates

    async def _look_up(self, name: str, kind: str) -> Lookup:
        answer: Answer[str] = await self._resolver.lookup(name, kind)  # type: ignore[call-overload]  # of Kind
        shown = answer.records[:MAX_RECORDS]
        found = _FOUND[answer.status]
        return Lookup(name, kind, found, shown, (), answer.authenticated, answer.chain, answer.reason)

    async def _look_up_txt(self, name: str) -> Lookup:
        answer = await self._resolver.txt(name)
        texts = answer.records[:MAX_RECORDS]
        shown = tuple(text.decode("ascii", "backslashreplace") for text in texts)
        found = _FOUND[answer.status]
        return Lookup(name, "TXT", found, shown, texts, answer.authenticated, answer.chain, answer.reason)

    async def _host(self, name: str, *, validates: bool) -> MxHost:
        known = self._hosts.known(name)
        if known is not None:
            return known
        return await self._hosts.get(name, lambda: self._look_at_host(name, validates=validates))

    async def _look_at_host(self, name: str, *, validates: bool) -> MxHost:
        if is_address(name):
            return MxHost(name, Lookup(name, "A", Found.NODATA), Lookup(name, "AAAA", Found.NODATA))
        v4, v6 = await self._look_up(name, "A"), await self._look_up(name, "AAAA")
        tlsa: list[Lookup] = []
        found = [lookup for lookup in (v4, v6) if lookup.was_found]
        # RFC 7672 §2.2.2: without a secure address, senders do not ask for TLSA records
        if validates and found and all(lookup.is_secure for lookup in found):
            owners = owner_names(name, v4.chain or v6.chain, 25)
            tlsa = [await self._look_up(each, "TLSA") for each in owners if len(each) <= MAX_NAME_LENGTH]
        return MxHost(name, v4, v6, tuple(tlsa))

    async def _look_at_policy_host(self, entry: Entry, until: float) -> PolicyHost:
        host = f"mta-sts.{entry.domain}"
        v4, v6 = await self._look_up(host, "A"), await self._look_up(host, "AAAA")
        pairs = zip(v6.records[:MAX_ADDRESSES], v4.records[:MAX_ADDRESSES], strict=False)
        addresses = [address for pair in pairs for address in pair]
        addresses += [each for each in (*v6.records, *v4.records) if each not in addresses]
        fetch: Fetch | None = None
        for address in addresses[:MAX_POLICY_ADDRESSES]:
            _check_time(until)
            fetch = await self._fetch(entry, address)
            if fetch.error not in _TRY_NEXT:
                break  # as senders do: the next address is for a host that does not connect
        return PolicyHost(v4, v6, (fetch,) if fetch is not None else ())

    async def _fetch(self, entry: Entry, address: str) -> Fetch:
        ways = self._ways
        async with self._addresses.place(address):
            try:
                result = await fetch_policy_at(
                    entry.domain,
                    address,
                    guard=self._guard,
                    ca_file=ways.ca_file,
                    port=ways.https_port,
                    connect_seconds=ways.connect_seconds,
                    total_seconds=ways.fetch_seconds,
                )
            except FetchError as error:
                return failed_fetch(address, error)
        return Fetch(address, body=result.body)

    async def _look_at_targets(self, record: Lookup, until: float) -> tuple[ReportTarget, ...]:
        try:
            targets = parse_record(record.texts).targets[:MAX_TARGETS]
        except RecordError:
            return ()
        found = []
        for target in targets:
            _check_time(until)
            if target.scheme == "mailto":
                domain = target.address.rpartition("@")[2].lower()
                takes, reason = await self._takers.get(domain, partial(self._takes_mail, domain))
                found.append(ReportTarget(target.uri, domain, takes, reason))
            else:
                found.append(ReportTarget(target.uri, "", None, "a survey does not connect to it"))
        return tuple(found)

    async def _takes_mail(self, domain: str) -> tuple[bool | None, str]:
        mx = await self._look_up(domain, "MX")
        if mx.has_failed:
            return None, mx.reason
        if mx.was_found:
            is_null = all(record.partition(" ")[2] in (".", "") for record in mx.records)
            return not is_null, "null MX: the domain takes no mail" if is_null else ""
        host = await self._host(domain, validates=False)
        if host.addresses:
            return True, ""
        if host.v4.has_failed or host.v6.has_failed:
            return None, host.v4.reason or host.v6.reason
        return False, "no MX record, no address"

    def _registered_domain(self, host: str) -> str:
        known = self._registered.get(host)
        if known is None:
            if len(self._registered) >= MAX_HOSTS_KNOWN:
                self._registered.clear()
            known = self._registered[host] = self._suffixes.registered_domain(host)
        return known


def _check_time(until: float) -> None:
    if clock.monotonic() >= until:
        raise TimeoutError


def read_suffixes(path: Path) -> Suffixes:
    try:
        with path.open(encoding="utf-8") as lines:
            return Suffixes(lines)
    except (OSError, UnicodeDecodeError):
        return Suffixes()
