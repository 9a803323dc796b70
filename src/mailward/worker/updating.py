"""Keeps a domain's records at its own DNS server by RFC 2136; the id once every policy host serves its policy.

What has no place there any more is removed, where it stands as we left it: of a policy that is withdrawn, of a domain
that has left MTA-STS, of one that is not here any more.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import dns.tsig

from mailward.config import Settings
from mailward.core.names import Domain as DomainName
from mailward.core.places import parse_place
from mailward.monitor.records import DomainFacts, RecordKey, expected_records, record_name
from mailward.net.dnsupdate import (
    Declined,
    Foreign,
    Place,
    Unreachable,
    UpdateFailed,
    Wanted,
    check_ours,
    check_zone,
    in_order,
    look,
    remove,
    replace,
)
from mailward.net.guard import make_probe_guard
from mailward.net.sealing import Unopenable, load_keyring
from mailward.store.aio import in_store
from mailward.store.models import DnsZone, Domain
from mailward.store.services import dnsupdates, mxlooks
from mailward.store.services.dnsupdates import zone_of, zone_purpose
from mailward.store.services.leaving import has_left
from mailward.worker.records import known, read_facts

_log = logging.getLogger(__name__)
FAILURES_AN_HOUR = 60
"""Of an organisation at one address: people name the address, and its owner may never have asked for us."""
MAX_REMOVALS_TRIED = 200
"""A week and more: a server that is away for longer keeps what a domain has left there."""
_RDTYPES = {
    RecordKey.STS: "TXT",
    RecordKey.POLICY_HOST: "CNAME",
    RecordKey.TLSRPT: "TXT",
    RecordKey.CLAIM: "TXT",
}
"""What we keep there, in the order in which it is removed: the announcement before what it announces."""
_T = TypeVar("_T")


class Outcome(StrEnum):
    RIGHT = "is right"
    WRITTEN = "was written"
    REMOVED = "was removed"
    ABSENT = "is not there, and need not be"
    TO_WRITE = "would be written"
    TO_REMOVE = "would be removed"
    FOREIGN = "was left alone"
    """Others wrote what stands there."""
    FAILED = "could not be written"


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one record."""

    name: str
    rdtype: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Plan:
    domain: Domain
    facts: DomainFacts
    server: "_Server"
    is_forced: bool
    has_left: bool
    written: Mapping[str, Sequence[tuple[str, ...]]]

    def may_replace(self, key: RecordKey) -> bool:
        """What others wrote there. Whoever serves a policy goes on until there is one here; whoever else has claimed
        the domain keeps the claim.
        """
        has_place = key is not RecordKey.POLICY_HOST or self.facts.policy_text is not None
        return self.is_forced and has_place and key is not RecordKey.CLAIM


async def update_domain(settings: Settings, domain_id: int) -> str:
    """Bring each record to what it should be; otherwise why another attempt is worth while."""
    failed = [
        step for step in await bring_domain(settings, domain_id) or () if step.outcome is Outcome.FAILED
    ]
    return "; ".join(f"{step.name}: {step.detail}" for step in failed)


async def bring_domain(settings: Settings, domain_id: int, *, is_trial: bool = False) -> list[Step] | None:
    """What became of each record; with `is_trial`, what would. None: others publish the domain's records."""
    try:
        plan = await in_store(_plan, settings, domain_id)
    except (Unopenable, UpdateFailed) as error:
        return [Step("", "", Outcome.FAILED, _in_words(error))]
    if plan is None:
        return None
    take = _try if is_trial else _take
    wanted = {} if plan is None else dict(_wanted_of(plan))
    gone = [key for key in _RDTYPES if key not in wanted]
    steps = [
        await take(plan, key, Wanted(record_name(key, plan.facts.name), _RDTYPES[key], ()))
        for key in gone
        if plan.written.get(key)
    ]
    return steps + [await take(plan, key, record) for key, record in wanted.items()]


def _wanted_of(plan: _Plan) -> Iterator[tuple[RecordKey, Wanted]]:
    """What we keep there: claim and way to the policy host first, the policy's id last (RFC 8461 section 8.1)."""
    facts = plan.facts
    for record in sorted(expected_records(facts), key=lambda record: record.key is RecordKey.STS):
        data = record.recommended if record.key is RecordKey.POLICY_HOST else record.self_managed
        if plan.has_left and record.key in (RecordKey.POLICY_HOST, RecordKey.STS):
            continue
        # a CNAME to the domain's own label proves it as well; a claim that others proved is theirs to keep
        is_open = facts.delegation is None and not facts.is_proved
        if record.key is RecordKey.CLAIM and not is_open and not plan.written.get(RecordKey.CLAIM):
            continue
        if data.value:
            yield record.key, Wanted(record.name, data.rdtype, (data.value,))


async def try_zone(settings: Settings, zone: DnsZone) -> str:
    """Empty where the server knows the key and has the zone; otherwise why not, in one sentence."""
    try:
        server = await in_store(_open_server, settings, zone)
        await server.ask(lambda: check_zone(server.place, make_probe_guard(settings)), is_trial=True)
    except (UpdateFailed, Unopenable) as error:
        return _in_words(error)
    return ""


async def remove_leftovers(
    settings: Settings, zone_id: int, name: str, records: Mapping[str, Sequence[Sequence[str]]]
) -> str:
    """What a domain that is gone has written; otherwise why another attempt is worth while."""
    try:
        server = await in_store(_server_of_leftovers, settings, zone_id, name, records)
    except (Unopenable, UpdateFailed) as error:
        return _in_words(error)
    if server is None:
        return ""
    failures = []
    ours = await in_store(_ours_alone, settings, server.organisation_id, name, records)
    for key, rdtype in _RDTYPES.items():
        if attempts := ours.get(key):
            wanted = Wanted(record_name(key, DomainName(name)), rdtype, ())
            try:
                await server.remove(wanted, attempts)
            except Foreign as error:
                _log.info("dns-record-left", extra={"domain": name, "record": key, "reason": error})
            except UpdateFailed as error:
                failures.append(f"{wanted.name}: {error}")
    return "; ".join(failures)


@dataclass(frozen=True, slots=True)
class _Server:
    """A server, and how often it may fail."""

    settings: Settings
    place: Place
    organisation_id: int
    away: list[str] = field(default_factory=list)
    """Why nobody answers there: the other records of the domain are not tried, nor counted."""

    async def look(self, wanted: Wanted) -> tuple[str, ...]:
        guard = make_probe_guard(self.settings)
        return await self.ask(lambda: look(self.place, wanted.name, wanted.rdtype, guard))

    async def remove(self, wanted: Wanted, ours: Sequence[tuple[str, ...]]) -> bool:
        guard = make_probe_guard(self.settings)
        return await self.ask(lambda: remove(self.place, wanted, ours, guard))

    async def replace(self, wanted: Wanted, ours: Sequence[tuple[str, ...]], *, is_forced: bool) -> bool:
        guard = make_probe_guard(self.settings)
        return await self.ask(lambda: replace(self.place, wanted, ours, guard, is_forced=is_forced))

    async def ask(self, question: Callable[[], Awaitable[_T]], *, is_trial: bool = False) -> _T:
        """Raises UpdateFailed, also where it has failed too often in this hour, and what the question raises. Who tries
        is not held up by what failed before.
        """
        if self.away:
            raise UpdateFailed(self.away[0])
        keys = [f"{kind} {self.organisation_id} {self.place.address}" for kind in ("update", "try")]
        if not await in_store(mxlooks.count_connections, keys[is_trial], 1, FAILURES_AN_HOUR):
            raise UpdateFailed(
                f"{self.place.address} has failed {FAILURES_AN_HOUR} times within an hour; it is asked again later"
            )
        try:
            found = await question()
        except Declined:
            await in_store(mxlooks.forget_connections, *keys)
            raise
        except Unreachable as error:
            self.away.append(str(error))
            raise
        # whose server signs with the key has given it to us: there is nobody to spare
        await in_store(mxlooks.forget_connections, *keys)
        return found


async def _take(plan: _Plan, key: RecordKey, wanted: Wanted) -> Step:
    """What others wrote there is for people to mend; a failure is worth another attempt."""
    ours = [*plan.written.get(key, ())]
    if wanted.values:
        ours = await in_store(dnsupdates.note_attempt, plan.domain, key.value, wanted.values)
    try:
        if not wanted.values:
            is_changed = await plan.server.remove(wanted, ours)
        else:
            known_ours = ours if ours and ours[-1] == wanted.values else [*ours, wanted.values]
            is_changed = await plan.server.replace(wanted, known_ours, is_forced=plan.may_replace(key))
    except Foreign as error:
        # what is to be removed and is not ours any more is no business of ours
        kept = ours if wanted.values else []
        await in_store(dnsupdates.forget_attempt, plan.domain.pk, key.value, kept, str(error))
        return Step(wanted.name, wanted.rdtype, Outcome.FOREIGN, str(error))
    except UpdateFailed as error:
        await in_store(dnsupdates.note_failure, plan.domain.pk, key.value, str(error))
        extra = {"domain": plan.domain.name, "record": key, "reason": error}
        _log.warning("dns-not-updated", extra=extra)
        return Step(wanted.name, wanted.rdtype, Outcome.FAILED, str(error))
    if not wanted.values:
        await in_store(dnsupdates.note_removed, plan.domain.pk, key.value)
        return Step(wanted.name, wanted.rdtype, Outcome.REMOVED if is_changed else Outcome.ABSENT)
    written = (plan.domain.pk, key.value, wanted.values)
    await in_store(dnsupdates.note_written, *written, is_changed=is_changed)
    return Step(wanted.name, wanted.rdtype, Outcome.WRITTEN if is_changed else Outcome.RIGHT)


async def _try(plan: _Plan, key: RecordKey, wanted: Wanted) -> Step:
    """A look alone: what the server would refuse for another type at the name is not seen."""
    try:
        now = await plan.server.look(wanted)
        if now == in_order(wanted.values):
            return Step(wanted.name, wanted.rdtype, Outcome.RIGHT if now else Outcome.ABSENT)
        if not (plan.may_replace(key) and wanted.values):
            check_ours(wanted, now, plan.written.get(key, ()))
    except Foreign as error:
        return Step(wanted.name, wanted.rdtype, Outcome.FOREIGN, str(error))
    except UpdateFailed as error:
        return Step(wanted.name, wanted.rdtype, Outcome.FAILED, str(error))
    outcome = Outcome.TO_WRITE if wanted.values else Outcome.TO_REMOVE
    return Step(wanted.name, wanted.rdtype, outcome, ", ".join(wanted.values or now))


def _plan(settings: Settings, domain_id: int) -> _Plan | None:
    """None: others publish its records. Raises Unopenable, UpdateFailed."""
    domain = known(Domain.objects.filter(pk=domain_id)).first()
    zone = zone_of(domain) if domain is not None else None
    if domain is None or zone is None:
        return None
    return _Plan(
        domain,
        read_facts(settings, domain),
        _open_server(settings, zone),
        zone.is_forced,
        has_left(domain),
        _ours_alone(settings, domain.organisation_id, domain.name, dnsupdates.written_of(domain_id)),
    )


def _ours_alone(
    settings: Settings, organisation_id: int, name: str, records: Mapping[str, Sequence[Sequence[str]]]
) -> dict[str, list[tuple[str, ...]]]:
    """What may be removed. The CNAME to the policy host is the same for all: another organisation that has proved the
    domain since counts on it, whoever wrote it.
    """
    written = {key: [tuple(each) for each in attempts] for key, attempts in records.items()}
    others = Domain.objects.exclude(organisation_id=organisation_id)
    if others.filter(name=name, claim_verified_at__isnull=False).exists():
        shared = (settings.policy_host.public_name,)
        written[RecordKey.POLICY_HOST] = [
            each for each in written.get(RecordKey.POLICY_HOST, ()) if each != shared
        ]
    return written


def _server_of_leftovers(
    settings: Settings, zone_id: int, name: str, records: Mapping[str, Sequence[Sequence[str]]]
) -> _Server | None:
    """None: the zone is not ours to change any more, or the domain is there again, and goes on with the records."""
    zone = DnsZone.objects.filter(pk=zone_id).first()
    if zone is None:
        return None
    again = Domain.objects.filter(organisation_id=zone.organisation_id, name=name).first()
    if again is not None:
        dnsupdates.adopt(again, records)
        return None
    return _open_server(settings, zone)


def _open_server(settings: Settings, zone: DnsZone) -> _Server:
    """Raises Unopenable, and UpdateFailed for a port that is not opened for updates."""
    purpose = zone_purpose(zone.organisation_id, zone.zone)
    secret = load_keyring(settings).open(bytes(zone.key), purpose)
    address, port = parse_place(zone.server, 53)
    if reason := why_not_port(settings, port):
        raise UpdateFailed(reason)
    place = Place(address, port, zone.zone, dns.tsig.Key(zone.key_name, secret, f"{zone.algorithm}."))
    return _Server(settings, place, zone.organisation_id)


def why_not_port(settings: Settings, port: int) -> str:
    """Empty: updates may go to this port."""
    if port in settings.dns.update_ports:
        return ""
    return f"updates do not go to port {port}; settings: dns.update_ports"


def _in_words(error: Exception) -> str:
    return f"the secret of the key cannot be opened: {error}" if isinstance(error, Unopenable) else str(error)
