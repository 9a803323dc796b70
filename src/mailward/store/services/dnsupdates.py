"""Domains whose records we keep at their own DNS server (RFC 2136)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q, QuerySet

from mailward.net import clock
from mailward.store.models import DnsWritten, DnsZone, Domain
from mailward.store.scope import Scope
from mailward.store.services import outbox
from mailward.store.services.progress import SECONDARIES_FOLLOW

KIND = "dns-update"
REMOVAL = "dns-remove"
"""What a domain that is gone has left there."""
_MAX_ATTEMPTS_KEPT = 5
_ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class ZoneData:
    zone: str
    server: str
    key_name: str
    algorithm: str
    sealed: bytes
    is_forced: bool


def zone_purpose(organisation_id: int, zone: str) -> str:
    """What the secret of a zone is sealed for."""
    return f"dns zone {organisation_id} {zone}"


def zone_of(domain: Domain) -> DnsZone | None:
    """The longest that the domain is in; None: its records are published by others."""
    zones = DnsZone.objects.filter(organisation_id=domain.organisation_id, zone__in=_names_above(domain.name))
    return max(zones, key=lambda zone: len(zone.zone), default=None)


@transaction.atomic
def save_zone(scope: Scope, data: ZoneData) -> DnsZone:
    """In the place of what was known of this zone; its domains are written at once."""
    zone, _ = DnsZone.objects.update_or_create(
        organisation_id=scope.organisation_id,
        zone=data.zone,
        defaults={
            "server": data.server,
            "key_name": data.key_name,
            "algorithm": data.algorithm,
            "key": data.sealed,
            "is_forced": data.is_forced,
        },
    )
    put_zone(zone)
    return zone


@transaction.atomic
def remove_zone(scope: Scope, zone_id: int) -> bool:
    """What was written stays where it is, and is not kept up any more."""
    zone = scope.dns_zones().filter(pk=zone_id).first()
    if zone is None:
        return False
    kept = _domains(zone)
    for longer in scope.dns_zones().filter(zone__endswith=f".{zone.zone}"):
        # they are kept up by that one, and what it wrote is still theirs
        kept = kept.exclude(_is_in(longer))
    scope.dns_written().filter(domain__in=kept).delete()
    zone.delete()
    return True


def put_zone(zone: DnsZone) -> None:
    ids = _domains(zone).values_list("pk", flat=True)
    outbox.put_many(outbox.Item(KIND, str(pk)) for pk in ids)
    outbox.hasten(KIND)


def put_domain(domain_id: int) -> None:
    """Within the transaction of the change; nothing where its records are published by others."""
    put_domains(Domain.objects.filter(pk=domain_id))


def put_domains(domains: Iterable[Domain]) -> None:
    """put_domain for many, by two statements."""
    domains = list(domains)
    organisations = {domain.organisation_id for domain in domains}
    zones = set(
        DnsZone.objects.filter(organisation_id__in=organisations).values_list("organisation_id", "zone")
    )
    outbox.put_many(
        outbox.Item(KIND, str(domain.pk))
        for domain in domains
        if zones and any((domain.organisation_id, name) in zones for name in _names_above(domain.name))
    )


@transaction.atomic
def note_attempt(domain: Domain, record: str, values: Sequence[str]) -> list[tuple[str, ...]]:
    """Before it is sent: these values may be ours from now on. Returns what was, and is, so."""
    row, _ = DnsWritten.objects.get_or_create(
        domain=domain,
        record=record,
        defaults={"organisation_id": domain.organisation_id, "tried_at": clock.now()},
    )
    before = [tuple(each) for each in row.attempts]
    if not before or before[-1] != tuple(values):
        row.attempts = [*row.attempts, list(values)][-_MAX_ATTEMPTS_KEPT:]
    row.tried_at = clock.now()
    row.save(update_fields=["attempts", "tried_at"])
    return before


@transaction.atomic
def note_written(domain_id: int, record: str, values: Sequence[str], *, is_changed: bool) -> None:
    """It stands there. `is_changed`: since now; the last look at the records saw something else."""
    DnsWritten.objects.filter(domain_id=domain_id, record=record).update(
        attempts=[list(values)], written_at=clock.now(), error=""
    )
    if is_changed:
        outbox.put("records", str(domain_id), available_at=clock.now() + SECONDARIES_FOLLOW)


def note_failure(domain_id: int, record: str, error: str) -> None:
    """It may stand there or not."""
    DnsWritten.objects.filter(domain_id=domain_id, record=record).update(error=error[:_ERROR_CHARACTERS])


def forget_attempt(domain_id: int, record: str, before: Sequence[Sequence[str]], error: str) -> None:
    """Others' records stand there: nothing of ours was sent."""
    DnsWritten.objects.filter(domain_id=domain_id, record=record).update(
        attempts=[list(each) for each in before], error=error[:_ERROR_CHARACTERS]
    )


def written_of(domain_id: int) -> dict[str, list[tuple[str, ...]]]:
    """What may be ours there, by record, the newest last; without those of which nothing is."""
    rows = DnsWritten.objects.filter(domain_id=domain_id).values_list("record", "attempts")
    return {record: [tuple(each) for each in attempts] for record, attempts in rows if attempts}


def note_removed(domain_id: int, record: str) -> None:
    """Nothing of ours stands there any more."""
    DnsWritten.objects.filter(domain_id=domain_id, record=record).delete()


def put_removal(domain: Domain) -> None:
    """Within the transaction that deletes the domain: its records there go, too."""
    zone, records = zone_of(domain), written_of(domain.pk)
    if zone is not None and records:
        payload = {"zone": zone.pk, "domain": domain.name, "records": records}
        outbox.put(REMOVAL, str(domain.pk), payload)


@transaction.atomic
def adopt(domain: Domain, records: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """The domain is there again: what its predecessor wrote is its own."""
    for record, attempts in records.items():
        row, _ = DnsWritten.objects.get_or_create(
            domain=domain,
            record=record,
            defaults={"organisation_id": domain.organisation_id, "tried_at": clock.now()},
        )
        row.attempts = [*map(list, attempts), *row.attempts][-_MAX_ATTEMPTS_KEPT:]
        row.save(update_fields=["attempts"])
    outbox.put(KIND, str(domain.pk))


def _names_above(name: str) -> list[str]:
    """With the name itself."""
    labels = name.split(".")
    return [".".join(labels[at:]) for at in range(len(labels))]


def _domains(zone: DnsZone) -> QuerySet[Domain]:
    return Domain.objects.filter(_is_in(zone), organisation_id=zone.organisation_id)


def _is_in(zone: DnsZone) -> Q:
    return Q(name=zone.zone) | Q(name__endswith="." + zone.zone)
