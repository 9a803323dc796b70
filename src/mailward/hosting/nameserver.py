"""The nameserver as a process: what the database knows, as a zone, and secondaries told of each change."""

import asyncio
import logging
from ipaddress import ip_network
from pathlib import Path

import msgspec

from mailward.config import Settings, SettingsError
from mailward.core.dns.ratelimit import RateLimiter
from mailward.core.dns.zone import Authority
from mailward.core.places import parse_place
from mailward.hosting.authdns import Nameserver, TransferAccess
from mailward.hosting.delegated import make_authority
from mailward.hosting.following import Keeper, read_saved, write_whole
from mailward.hosting.secondaries import Secondaries
from mailward.hosting.transfer import KeyInvalid, parse_keys
from mailward.store.queries.hosting import Delegation, Delegations, delegations

_log = logging.getLogger("mailward.nameserver")


class _Saved(msgspec.Struct, frozen=True):
    generation: int
    delegations: tuple[tuple[str, str, str | None], ...]


class ZoneKeeper(Keeper[Delegations]):
    """Makes a new authority of each change, in the reading thread, and gives it to the server."""

    def __init__(self, path: Path, settings: Settings, server: Nameserver, secondaries: Secondaries) -> None:
        """Raises SettingsError where the settings make no zone."""
        self._settings = settings
        self._server = server
        self._secondaries = secondaries
        super().__init__(path)
        server.authority = make_authority(settings, self.current)
        self._made: Authority = server.authority

    def load_saved(self, path: Path) -> Delegations:
        saved = read_saved(path, _Saved)
        if saved is None:
            return Delegations(0, ())
        return Delegations(saved.generation, tuple(Delegation(*row) for row in saved.delegations))

    def read(self) -> Delegations:
        fresh = delegations()
        # another serial for what is the same would send every secondary for the whole zone
        if fresh.delegations == self.current.delegations:
            return self.current
        self._made = make_authority(self._settings, fresh)
        return fresh

    def save(self, held: Delegations, path: Path) -> None:
        rows = tuple((row.token, row.report_token, row.policy_id) for row in held.delegations)
        write_whole(msgspec.json.encode(_Saved(held.generation, rows)), path)

    def count(self, held: Delegations) -> int:
        return len(held.delegations)

    def replaced(self) -> None:
        self._server.authority = self._made
        for apex in self._made.zones:
            self._secondaries.tell(apex)


def make_nameserver(settings: Settings) -> tuple[Nameserver, Secondaries]:
    """Raises SettingsError."""
    own = settings.nameserver
    try:
        keys = parse_keys(own.transfer_keys)
        networks = [ip_network(text, strict=False) for text in own.transfer_networks]
        secondaries = Secondaries([parse_place(text, 53) for text in own.secondaries], keys)
    except (KeyInvalid, ValueError) as error:
        raise SettingsError(f"settings: nameserver: {error}") from error
    limiter = RateLimiter(per_topic=own.replies_per_second, per_address=own.replies_per_second_an_address)
    return Nameserver(limiter, TransferAccess(keys, networks)), secondaries


async def run(settings: Settings) -> None:
    """Serve until cancelled. Django must be set up."""
    server, secondaries = make_nameserver(settings)
    keeper = ZoneKeeper(settings.data_path / "zone.json", settings, server, secondaries)
    port = await server.listen(settings.nameserver.listen, settings.nameserver_port)
    _log.info(
        "serving",
        extra={"zone": settings.nameserver.zone, "port": port, "domains": keeper.count(keeper.current)},
    )
    try:
        await keeper.follow()
    finally:
        secondaries.close()
        await server.close()
        await asyncio.sleep(0)
