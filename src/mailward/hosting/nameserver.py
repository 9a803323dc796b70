"""The nameserver as a process: what the database knows, as a zone, and secondaries told of each change."""

import asyncio
import logging
import socket
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path

import msgspec
from django.db import Error as DatabaseError

from mailward.config import Settings, SettingsError
from mailward.core.dns.nameserver import parse_secondary
from mailward.core.dns.ratelimit import RateLimiter
from mailward.core.dns.wire import encode_name, is_newer_serial
from mailward.core.dns.zone import Authority, NodeSets
from mailward.hosting.authdns import Nameserver, TransferAccess, open_both
from mailward.hosting.catalog import Catalog
from mailward.hosting.delegated import (
    POLICY_HOST,
    SERIAL_RANGE,
    Change,
    CustomerZones,
    ZoneMaker,
    change_zone,
)
from mailward.hosting.following import Keeper, read_saved
from mailward.hosting.notices import Notices
from mailward.hosting.numbers import nameserver_families, nameserver_health, snapshot_families
from mailward.hosting.secondaries import Secondaries
from mailward.hosting.transfer import parse_keys
from mailward.net import clock, metrics, pulse
from mailward.net.durable import write_whole
from mailward.net.listening import inherited
from mailward.store.aio import in_store
from mailward.store.queries.hosting import (
    Delegation,
    HostingState,
    changed_domains,
    delegations,
    hosting_state,
    own_challenges,
)
from mailward.store.services.hosting import raise_serial

_log = logging.getLogger("mailward.nameserver")


SAVE_SECONDS = 10.0
"""What is saved is behind by so much at most; it catches up from the database, whatever it missed."""
_SAVED_AT_ONCE = 1_000
"""So few domains are saved with each change."""
ASK_AGAIN_SECONDS = 300.0
CHANGES_AT_ONCE = 100
"""Domains: 2 ms or so, then questions have their turn."""
_NO_SETS: NodeSets = {}
_NOTHING_READ = HostingState(generation=-1)


class _Saved(msgspec.Struct, frozen=True):
    state: HostingState
    domains: dict[int, Delegation]


class ZoneKeeper(Keeper[HostingState]):
    """Reads what changed in the thread, and changes the zone on the loop, which alone answers from it."""

    def __init__(self, path: Path, settings: Settings, server: Nameserver, secondaries: Secondaries) -> None:
        """Raises SettingsError where the settings make no zone."""
        self._domains: dict[int, Delegation] = {}
        self._changes: list[Change] = []
        self._challenges: dict[str, str] | None = None
        self._shown: dict[bytes, NodeSets] = {}
        """Of the challenges of our own names: what is read, and what the zone says."""
        self._refreshing = asyncio.Lock()
        self._saved_at = float("-inf")
        self._is_saved = True
        self._secondaries = secondaries
        self._maker = ZoneMaker(settings)
        super().__init__(path)
        self._zone = self._maker.make_zone(self.current.serial_generation)
        known: list[Change] = [(None, each) for each in self._domains.values()]
        change_zone(self._zone, self._maker, known)
        offered = bool(settings.nameserver.policy_addresses)
        self._customers = CustomerZones(self._maker, self._zone.apex, offered)
        touched = self._customers.change(known)
        self._customers.serial = self._zone.serial
        server.authority = Authority([self._zone], self._customers)
        self._catalog: Catalog | None = None
        if settings.nameserver.catalog:
            self._catalog = Catalog(settings.nameserver.zone, self._maker.soa(self._zone.serial))
            self._catalog.change(_lives(touched))
            server.catalog = self._catalog

    def load_saved(self, path: Path) -> HostingState:
        saved = read_saved(path, _Saved)
        if saved is None:
            return _NOTHING_READ
        self._domains = saved.domains
        return saved.state

    def read(self) -> HostingState:
        held, fresh = self.current, hosting_state()
        if fresh == held:
            if self._challenges is None:
                self._challenges = own_challenges()  # no file has them
            if not self._is_saved:
                self.keep(held)
            return held
        changed = changed_domains(held) if fresh.must_prove == held.must_prove else None
        domains = delegations(changed, must_prove=fresh.must_prove)
        pairs = [
            (pk, self._domains.get(pk), domains.get(pk))
            for pk in (self._domains.keys() | domains.keys() if changed is None else changed)
        ]
        different = [(pk, before, after) for pk, before, after in pairs if before != after]
        own = own_challenges()
        if _goes_back(held, fresh, has_changed=bool(different) or own != (self._challenges or own)):
            # an older backup was restored; what then has another serial is read in the next round
            _log.warning("serial-raised", extra={"serial": held.serial_generation % SERIAL_RANGE})
            raise_serial(held.serial_generation % SERIAL_RANGE)
            return held
        for pk, _, after in different:
            if after is None:
                self._domains.pop(pk, None)
            else:
                self._domains[pk] = after
        self._changes += [(before, after) for _, before, after in different]
        self._challenges = own
        return fresh

    def save(self, held: HostingState, path: Path) -> None:
        now = clock.monotonic()
        self._is_saved = False
        if len(self._domains) > _SAVED_AT_ONCE and now - self._saved_at < SAVE_SECONDS:
            return
        write_whole(msgspec.json.encode(_Saved(held, self._domains)), path)
        self._saved_at, self._is_saved = now, True

    def count(self, held: HostingState) -> int:
        return len(self._domains)

    @property
    def apex(self) -> bytes:
        return self._zone.apex

    @property
    def serial(self) -> int:
        return self._zone.serial

    async def refresh(self) -> None:
        async with self._refreshing:
            await self._take_up()

    async def _take_up(self) -> None:
        await super().refresh()
        serial = self.current.serial_generation
        # a zone that is made while changes are taken up has what is new, and says so
        self._customers.serial = serial % SERIAL_RANGE
        if not self._changes and self._customers.serial != self._zone.serial:
            self._customers.forget_made()  # counted on past what secondaries have: that is for each zone
        to_tell: list[bytes] = []
        while self._changes:
            some, self._changes = self._changes[:CHANGES_AT_ONCE], self._changes[CHANGES_AT_ONCE:]
            change_zone(self._zone, self._maker, some)
            touched = self._customers.change(some)
            if self._catalog is not None:
                if self._catalog.change(_lives(touched)):
                    to_tell = [self._catalog.zone.apex, *to_tell]
                to_tell += _challenged(some)
            await asyncio.sleep(0)
        self._show_own()
        if serial % SERIAL_RANGE != self._zone.serial:
            self._zone.set_soa(self._maker.soa(serial))
            if self._catalog is not None:
                self._catalog.zone.set_soa(self._maker.soa(serial))
            for apex in dict.fromkeys([self._zone.apex, *to_tell]):
                self._secondaries.tell(apex)

    def _show_own(self) -> None:
        wanted = self._maker.own_sets(self._challenges or {})
        if wanted != self._shown:
            self._zone.put({**dict.fromkeys(self._shown, _NO_SETS), **wanted})
            self._shown = wanted


def _lives(touched: Mapping[bytes, Delegation | None]) -> dict[bytes, str | None]:
    """What a catalog has of these zones: each claim has a token of its own."""
    return {apex: None if each is None else each.token for apex, each in touched.items()}


def _challenged(changes: Iterable[Change]) -> Iterator[bytes]:
    """The customers' zones that say something else to a CA now: few at a time, as orders are."""
    for before, after in changes:
        if before is None or after is None or before.challenge == after.challenge:
            continue
        if after.proved_name is not None:
            yield encode_name(f"{POLICY_HOST}.{after.proved_name}")


def _goes_back(held: HostingState, fresh: HostingState, *, has_changed: bool) -> bool:
    """Whether what we serve differs and its serial would not be newer than the one that secondaries have."""
    if held == _NOTHING_READ:
        return False
    ahead = fresh.serial_generation - held.serial_generation
    return ahead < 0 or (has_changed and ahead == 0)


def make_nameserver(settings: Settings) -> tuple[Nameserver, Secondaries]:
    """Raises SettingsError."""
    own = settings.nameserver
    try:
        keys = parse_keys(own.transfer_keys)
        networks = [ip_network(text, strict=False) for text in own.transfer_networks]
        named = [parse_secondary(text) for text in own.secondaries]
        access = TransferAccess(keys, networks, [each.address for each in named])
        secondaries = Secondaries(named, keys)
    except ValueError as error:
        raise SettingsError(f"settings: nameserver: {error}") from error
    limiter = RateLimiter(per_topic=own.replies_per_second, per_address=own.replies_per_second_an_address)
    return Nameserver(limiter, access), secondaries


async def pass_secondaries(keeper: ZoneKeeper, secondaries: Secondaries) -> None:
    """Where a secondary has a newer serial than ours, count on from there, or it would never take our zone again: an
    older backup was restored on a machine that does not remember what it served.

    Ends once every secondary was heard.
    """
    while True:
        await keeper.refresh()
        serials = await secondaries.serials(keeper.apex)
        newest = keeper.serial
        for serial in serials.values():
            newest = serial if is_newer_serial(serial, newest) else newest
        if newest != keeper.serial:
            _log.warning("serial-raised", extra={"serial": newest, "ours": keeper.serial})
            try:
                await in_store(raise_serial, newest)
            except DatabaseError as error:
                _log.error("serial-not-raised", extra={"reason": error})
                serials = {}
        if len(serials) == len(secondaries):
            return
        await asyncio.sleep(ASK_AGAIN_SECONDS)


async def run(settings: Settings) -> None:
    """Serve until cancelled. Django must be set up."""
    server, secondaries = make_nameserver(settings)
    keeper = ZoneKeeper(settings.data_path / "zone.json", settings, server, secondaries)
    await keeper.look_first()
    streams, datagrams = inherited("nameserver"), inherited("nameserver", socket.SOCK_DGRAM)
    if streams or datagrams:
        port = await server.serve(streams, datagrams)
    else:
        port = await server.serve(*open_both(settings.nameserver_places))
    _log.info(
        "serving",
        extra={"zone": settings.nameserver.zone, "port": port, "domains": keeper.count(keeper.current)},
    )
    metrics.tell(lambda: nameserver_families(server, keeper.serial, secondaries.told))
    metrics.tell(lambda: snapshot_families("nameserver", keeper))
    metrics.tell_health(lambda: nameserver_health(keeper, keeper.apex, server.place))
    notices = Notices()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(notices.listen())
            group.create_task(keeper.follow(notices))
            group.create_task(pulse.keep())
            group.create_task(pass_secondaries(keeper, secondaries))
    finally:
        secondaries.close()
        await server.close()
        await asyncio.sleep(0)
