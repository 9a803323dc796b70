"""What a survey does beyond asking DNS: the policy host, as a sender would, and where reports go."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from mailward.core.check.facts import Fetch, Lookup, PolicyHost, ReportTarget
from mailward.core.names import Domain
from mailward.core.tlsrpt.record import RecordError, parse_record
from mailward.net.fetch import MAX_ADDRESSES as MAX_POLICY_ADDRESSES
from mailward.net.fetch import FetchError, fetch_policy_at
from mailward.probe.observe import MAX_ADDRESSES, failed_fetch
from mailward.probe.once import Once, Politeness
from mailward.probe.surveydesk import MAX_HOSTS_KNOWN, Desk, make_lookup

MAX_TARGETS = 10
MAX_RECORDS_KNOWN = 5_000
_TRY_NEXT = ("connect", "connect-timeout", "unobserved")

CheckTime = Callable[[], None]
"""Raises TimeoutError where no step may be begun any more."""


class Steps:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._addresses = Politeness(desk.ways.per_address)
        self._takers = Once[tuple[bool | None, str]](MAX_HOSTS_KNOWN)
        self._targets: OrderedDict[tuple[bytes, ...], tuple[ReportTarget, ...]] = OrderedDict()

    async def look_at_policy_host(
        self, domain: Domain, v4: Lookup, v6: Lookup, check_time: CheckTime
    ) -> PolicyHost:
        pairs = zip(v6.records[:MAX_ADDRESSES], v4.records[:MAX_ADDRESSES], strict=False)
        addresses = [address for pair in pairs for address in pair]
        addresses += [each for each in (*v6.records, *v4.records) if each not in addresses]
        fetch: Fetch | None = None
        for address in addresses[:MAX_POLICY_ADDRESSES]:
            check_time()
            fetch = await self._fetch(domain, address)
            if fetch.error not in _TRY_NEXT:
                break  # as senders do: the next address is for a host that does not connect
        return PolicyHost(v4, v6, (fetch,) if fetch is not None else ())

    async def _fetch(self, domain: Domain, address: str) -> Fetch:
        ways = self._desk.ways
        async with self._addresses.place(address):
            try:
                result = await fetch_policy_at(
                    domain,
                    address,
                    guard=self._desk.guard,
                    ca_file=ways.ca_file,
                    port=ways.https_port,
                    connect_seconds=ways.connect_seconds,
                    total_seconds=ways.fetch_seconds,
                )
            except FetchError as error:
                return failed_fetch(address, error)
        return Fetch(address, body=result.body)

    def known_targets(self, texts: tuple[bytes, ...]) -> tuple[ReportTarget, ...] | None:
        """Of a TLSRPT record that was met before."""
        return self._targets.get(texts)

    async def look_at_targets(
        self, texts: tuple[bytes, ...], check_time: CheckTime
    ) -> tuple[ReportTarget, ...]:
        try:
            targets = parse_record(texts).targets[:MAX_TARGETS]
        except RecordError:
            targets = ()
        found = []
        for target in targets:
            check_time()
            if target.scheme == "mailto":
                domain = target.address.rpartition("@")[2].lower()
                takes, reason = await self._takers.get(domain, partial(self._takes_mail, domain))
                found.append(ReportTarget(target.uri, domain, takes, reason))
            else:
                found.append(ReportTarget(target.uri, "", None, "a survey does not connect to it"))
        self._targets[texts] = tuple(found)
        if len(self._targets) > MAX_RECORDS_KNOWN:
            self._targets.popitem(last=False)
        return tuple(found)

    async def _takes_mail(self, domain: str) -> tuple[bool | None, str]:
        mx = make_lookup(domain, "MX", await self._desk.resolver.lookup(domain, "MX"))
        if mx.has_failed:
            return None, mx.reason
        if mx.was_found:
            is_null = all(record.partition(" ")[2] in (".", "") for record in mx.records)
            return not is_null, "null MX: the domain takes no mail" if is_null else ""
        host = await self._desk.host(domain)
        if host.addresses:
            return True, ""
        if host.v4.has_failed or host.v6.has_failed:
            return None, host.v4.reason or host.v6.reason
        return False, "no MX record, no address"
