"""What our zone says: for each domain, below a label that nobody guesses, what its CNAMEs lead to.

_mta-sts.<token>.<zone>     TXT    v=STSv1; id=...;        while a policy is announced
_tlsrpt.<token>.<zone>      TXT    v=TLSRPTv1; rua=...
mta-sts.<token>.<zone>      A, AAAA of the policy host, or a CNAME to it
_acme-challenge.<token>.<zone>  TXT, while a CA wants to see it
_acme-challenge.own-<label>.<zone>  TXT, the same for names of the installation's own

And the zone `mta-sts.<domain>` itself, for domains that delegate it to us by NS: SOA, NS, A, AAAA of the policy host,
and `_acme-challenge` below it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address

from mailward.config import Settings, SettingsError
from mailward.core.acme.challenge import LABEL, own_label
from mailward.core.dns.wire import Type, encode_label, encode_name, is_below
from mailward.core.dns.zone import NodeSets, Record, Soa, Zone, make_zone, pack_texts, prepare
from mailward.core.mtasts import record as sts
from mailward.core.tlsrpt import record as tlsrpt
from mailward.store.queries.hosting import Delegation

SERIAL_RANGE = 2**32
Change = tuple[Delegation | None, Delegation | None]
"""What was known of a domain, and what is known now."""
CHALLENGE_TTL = 10
"""Seconds. The next order has another one."""
POLICY_HOST, STS, TLSRPT = "mta-sts", "_mta-sts", "_tlsrpt"
_POLICY_HOST, _STS, _TLSRPT = (encode_label(label) for label in (POLICY_HOST, STS, TLSRPT))
_CHALLENGE = encode_label(LABEL)
_NO_SETS: NodeSets = {}
_MAX_MADE = 10_000
_SAMPLE = "x" * 32  # as long as an id may be (RFC 8461 §3.1)


class ZoneMaker:
    """The settings' zone, and what one domain adds to it."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where the settings make no zone."""
        self._settings = settings
        own = settings.nameserver
        self._servers = own.ns_records
        self._ttl = own.ttl_seconds
        self._report_text = _Template(self._write_report_text)
        self._sts_text = _Template(_write_sts_text)
        try:
            self._apex = encode_name(own.zone)
            (self._host,) = prepare(self._apex, self._host_records()).values()
        except ValueError as error:
            raise SettingsError(f"settings: nameserver: {error}") from error

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
            self._servers[0].name, own.contact or f"hostmaster@{own.zone}", serial=generation % SERIAL_RANGE
        )

    def sets_of(self, each: Delegation) -> dict[bytes, NodeSets]:
        """All names below the domain's label, with what they hold. Some 10 us: there are 100,000 domains."""
        below = encode_label(each.token) + self._apex
        sets = {
            _POLICY_HOST + below: self._host,
            _TLSRPT + below: pack_texts(self._ttl, self._report_text.fill(each.report_token)),
        }
        if each.policy_id is not None:
            sets[_STS + below] = pack_texts(self._ttl, self._sts_text.fill(each.policy_id))
        if each.challenge is not None:
            sets[_CHALLENGE + below] = pack_texts(min(self._ttl, CHALLENGE_TTL), each.challenge)
        return sets

    def own_sets(self, challenges: Mapping[str, str]) -> dict[bytes, NodeSets]:
        """The challenges of the installation's own names: below a label of theirs, to which a CNAME leads, and at
        their own place where that is in our zone.
        """
        sets: dict[bytes, NodeSets] = {}
        for host, text in challenges.items():
            packed = pack_texts(min(self._ttl, CHALLENGE_TTL), text)
            sets[_CHALLENGE + encode_label(own_label(host)) + self._apex] = packed
            if is_below(name := encode_name(host), self._apex):
                sets[_CHALLENGE + name] = packed
        return sets

    def make_customer_zone(self, each: Delegation, serial: int) -> Zone:
        """`mta-sts.<domain>`, for whoever delegates it by NS. Raises ValueError."""
        apex = f"{POLICY_HOST}.{each.proved_name}"
        zone = make_zone(apex, self.soa(serial), ())
        servers = [Record(apex, Type.NS, server.name, 3600) for server in self._servers]
        zone.put({zone.apex: {**self._host, **prepare(zone.apex, servers)[zone.apex]}})
        if each.challenge is not None:
            zone.put({_CHALLENGE + zone.apex: pack_texts(min(self._ttl, CHALLENGE_TTL), each.challenge)})
        return zone

    def _write_report_text(self, token: str) -> str:
        target = tlsrpt.mailto_target(f"{token}@{self._settings.reports.domain}")
        return tlsrpt.serialise_record(tlsrpt.Record((target,)))

    def _host_records(self) -> Iterator[Record]:
        """Of the policy host, as every domain has them."""
        own, name = self._settings.nameserver, f"{POLICY_HOST}.{self._settings.nameserver.zone}"
        for address in own.policy_addresses:
            yield _address(name, address, self._ttl)
        if not own.policy_addresses:
            yield Record(name, Type.CNAME, self._settings.policy_host.public_name, self._ttl)

    def _own_records(self) -> Iterator[Record]:
        own, name = self._settings.nameserver, self._settings.policy_host.public_name
        if name not in own.server_names and is_below(encode_name(name), self._apex):
            # in our zone nobody else can say where it is
            yield from (_address(name, address, self._ttl) for address in own.policy_addresses)
        for server in self._servers:
            yield Record(own.zone, Type.NS, server.name, 3600)
            for address in server.addresses:
                yield _address(server.name, address, 3600)


def _write_sts_text(policy_id: str) -> str:
    return sts.serialise_record(sts.Record(policy_id))


class _Template:
    """What a strict writer wrote once serves every value of letters and digits: writing costs 50 us."""

    def __init__(self, write: Callable[[str], str]) -> None:
        self._write = write
        self._head, _, self._tail = write(_SAMPLE).partition(_SAMPLE)

    def fill(self, value: str) -> str:
        if value.isascii() and value.isalnum() and len(value) <= len(_SAMPLE):
            return self._head + value + self._tail
        return self._write(value)


class CustomerZones:
    """The zones `mta-sts.<domain>` of proved domains: made when they are asked for, since few are delegated by NS."""

    def __init__(self, maker: ZoneMaker, own_apex: bytes, offered: bool) -> None:
        """`offered`: whether the policy host has addresses, which such a zone needs at its apex (RFC 1034 section
        3.6.2: no CNAME beside its SOA).
        """
        self._maker = maker
        self._own_apex = own_apex
        self._offered = offered
        self._domains: dict[bytes, Delegation] = {}
        self._made: dict[bytes, Zone] = {}
        self.serial = 0

    def __call__(self, apex: bytes) -> Zone | None:
        if not apex.startswith(_POLICY_HOST) or (each := self._domains.get(apex)) is None:
            return None
        if (zone := self._made.get(apex)) is None:
            if len(self._made) >= _MAX_MADE:
                self._made.clear()
            zone = self._made[apex] = self._maker.make_customer_zone(each, self.serial)
        return zone

    def change(self, changes: Iterable[Change]) -> dict[bytes, Delegation | None]:
        """The zones of which anything may be different now; None: it is gone."""
        touched: dict[bytes, Delegation | None] = {}
        for before, after in changes:
            if before is not None and before.proved_name is not None:
                apex = encode_name(f"{POLICY_HOST}.{before.proved_name}")
                # another organisation may have proved it meanwhile, and come first here
                if self._domains.get(apex) == before:
                    del self._domains[apex]
                    self._made.pop(apex, None)
                    touched[apex] = None
            if self._offered and after is not None and after.proved_name is not None:
                apex = encode_name(f"{POLICY_HOST}.{after.proved_name}")
                # whose domain is below our zone has its names there
                if not is_below(apex, self._own_apex):
                    self._domains[apex] = after
                    self._made.pop(apex, None)
                    touched[apex] = after
        return touched

    def forget_made(self) -> None:
        """They are made anew, with the serial of now."""
        self._made.clear()


def change_zone(zone: Zone, maker: ZoneMaker, changes: Iterable[Change]) -> None:
    """What was known of each domain gives way to what is known now. Raises ValueError."""
    names: dict[bytes, NodeSets] = {}
    for before, after in changes:
        if before is not None:
            names |= dict.fromkeys(maker.sets_of(before), _NO_SETS)
        if after is not None:
            names |= maker.sets_of(after)
    zone.put(names)


def _address(name: str, address: str, ttl: int) -> Record:
    return Record(name, Type.A if ip_address(address).version == 4 else Type.AAAA, address, ttl)
