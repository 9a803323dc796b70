"""Keeps a domain's records at its own DNS server by RFC 2136; the id once every policy host serves its policy."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import dns.tsig

from mailward.config import Settings
from mailward.core.places import parse_place
from mailward.monitor.records import DomainFacts, RecordKey, expected_records
from mailward.net.dnsupdate import Foreign, Place, UpdateFailed, Wanted, look, replace
from mailward.net.guard import make_probe_guard
from mailward.net.sealing import Unopenable, load_keyring
from mailward.store.aio import in_store
from mailward.store.models import DnsZone, Domain
from mailward.store.services import dnsupdates
from mailward.store.services.dnsupdates import zone_of, zone_purpose
from mailward.worker.records import known, read_facts

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Plan:
    domain: Domain
    facts: DomainFacts
    place: Place
    is_forced: bool


async def update_domain(settings: Settings, domain_id: int) -> str:
    """Bring each record to what it should be; otherwise why another attempt is worth while."""
    try:
        plan = await in_store(_plan, settings, domain_id)
    except Unopenable as error:
        return f"the secret of the key cannot be opened: {error}"
    if plan is None:
        return ""
    failures = []
    for key, wanted in wanted_records(plan.facts):
        if reason := await _write(settings, plan, key, wanted):
            failures.append(f"{wanted.name}: {reason}")
    return "; ".join(failures)


def wanted_records(facts: DomainFacts) -> Iterator[tuple[RecordKey, Wanted]]:
    """What we keep there: the way to the policy host first, the policy's id last (RFC 8461 section 8.1)."""
    for record in sorted(expected_records(facts), key=lambda record: record.key is RecordKey.STS):
        data = record.recommended if record.key is RecordKey.POLICY_HOST else record.self_managed
        if record.key is not RecordKey.CLAIM and data.value:
            yield record.key, Wanted(record.name, data.rdtype, (data.value,))


async def try_zone(settings: Settings, zone: DnsZone) -> str:
    """Empty where the server answers a signed question about the zone; otherwise why not, in one sentence."""
    try:
        place = await in_store(_place, settings, zone)
        await look(place, zone.zone, "TXT", make_probe_guard(settings))
    except (UpdateFailed, Unopenable) as error:
        return str(error)
    return ""


async def _write(settings: Settings, plan: _Plan, key: RecordKey, wanted: Wanted) -> str:
    """Why another attempt is worth while; what others wrote there is for people to mend."""
    ours = await in_store(dnsupdates.note_attempt, plan.domain, key.value, wanted.values)
    try:
        await replace(
            plan.place,
            wanted,
            ours if ours and ours[-1] == wanted.values else [*ours, wanted.values],
            make_probe_guard(settings),
            is_forced=plan.is_forced,
        )
    except Foreign as error:
        await in_store(dnsupdates.forget_attempt, plan.domain.pk, key.value, ours, str(error))
        return ""
    except UpdateFailed as error:
        await in_store(dnsupdates.note_failure, plan.domain.pk, key.value, str(error))
        _log.warning("dns-not-updated", extra={"domain": plan.domain.name, "record": key, "reason": error})
        return str(error)
    await in_store(dnsupdates.note_written, plan.domain.pk, key.value, wanted.values)
    return ""


def _plan(settings: Settings, domain_id: int) -> _Plan | None:
    """None: others publish its records. Raises Unopenable."""
    domain = known(Domain.objects.filter(pk=domain_id)).first()
    zone = zone_of(domain) if domain is not None else None
    if domain is None or zone is None:
        return None
    return _Plan(domain, read_facts(settings, domain), _place(settings, zone), zone.is_forced)


def _place(settings: Settings, zone: DnsZone) -> Place:
    """Raises Unopenable."""
    purpose = zone_purpose(zone.organisation_id, zone.zone)
    secret = load_keyring(settings).open(bytes(zone.key), purpose)
    address, port = parse_place(zone.server, 53)
    return Place(address, port, zone.zone, dns.tsig.Key(zone.key_name, secret, f"{zone.algorithm}."))
