"""What our zone says: for each domain, below a label that nobody guesses, what its CNAMEs lead to.

_mta-sts.<token>.<zone>     TXT    v=STSv1; id=...;        while a policy is announced
_tlsrpt.<token>.<zone>      TXT    v=TLSRPTv1; rua=...
mta-sts.<token>.<zone>      A, AAAA of the policy host, or a CNAME to it
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from mailward.config import Settings, SettingsError
from mailward.core.dns.wire import Type
from mailward.core.dns.zone import NodeSets, Record, Soa, Zone, make_zone, prepare
from mailward.core.mtasts import record as sts
from mailward.core.tlsrpt import record as tlsrpt
from mailward.store.queries.hosting import Delegation

SERIAL_RANGE = 2**32
Change = tuple[Delegation | None, Delegation | None]
"""What was known of a domain, and what is known now."""
POLICY_HOST, STS, TLSRPT = "mta-sts", "_mta-sts", "_tlsrpt"


class ZoneMaker:
    """The settings' zone, and what one domain adds to it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        own = settings.nameserver
        self._servers = [_split_server(text) for text in own.servers] or [(f"ns1.{own.zone}", ())]

    def make_zone(self, generation: int) -> Zone:
        """The zone without any domain. Raises SettingsError where the settings make none."""
        try:
            return make_zone(self._settings.nameserver.zone, self.soa(generation), self._own_records())
        except ValueError as error:
            raise SettingsError(f"settings: nameserver: {error}") from error

    def soa(self, generation: int) -> Soa:
        own = self._settings.nameserver
        # RFC 1982: it may wrap around, and a secondary goes on following
        return Soa(
            self._servers[0][0], own.contact or f"hostmaster@{own.zone}", serial=generation % SERIAL_RANGE
        )

    def records_of(self, each: Delegation) -> Iterator[Record]:
        """All that stands below the domain's label."""
        own, ttl = self._settings.nameserver, self._settings.nameserver.ttl_seconds
        below = f"{each.token}.{own.zone}"
        if own.policy_addresses:
            for address in own.policy_addresses:
                yield _address(f"{POLICY_HOST}.{below}", address, ttl)
        else:
            yield Record(f"{POLICY_HOST}.{below}", Type.CNAME, self._settings.policy_host.public_name, ttl)
        target = tlsrpt.mailto_target(f"{each.report_token}@{self._settings.reports.domain}")
        yield Record(f"{TLSRPT}.{below}", Type.TXT, tlsrpt.serialise_record(tlsrpt.Record((target,))), ttl)
        if each.policy_id is not None:
            text = sts.serialise_record(sts.Record(each.policy_id))
            yield Record(f"{STS}.{below}", Type.TXT, text, ttl)

    def _own_records(self) -> Iterator[Record]:
        for name, addresses in self._servers:
            yield Record(self._settings.nameserver.zone, Type.NS, name, 3600)
            for address in addresses:
                yield _address(name, address, 3600)


def change_zone(zone: Zone, maker: ZoneMaker, changes: Iterable[Change]) -> None:
    """What was known of each domain gives way to what is known now. Raises ValueError."""
    names: dict[bytes, NodeSets] = {}
    for before, after in changes:
        gone = prepare(zone.apex, maker.records_of(before)) if before is not None else {}
        names |= {name: {} for name in gone}
        if after is not None:
            names |= prepare(zone.apex, maker.records_of(after))
    zone.put(names)


def _address(name: str, address: str, ttl: int) -> Record:
    return Record(name, Type.A if ip_address(address).version == 4 else Type.AAAA, address, ttl)


def _split_server(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, addresses = text.partition("=")
    return name, tuple(address for address in addresses.split(",") if address)
