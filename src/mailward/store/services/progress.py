"""How far the newest version of a policy has come: served by each host, announced, seen at each DNS server."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction
from django.db.models import F

from mailward.net import clock
from mailward.store.models import Domain, PolicyVersion, VersionStep
from mailward.store.services import outbox

SECONDARIES_FOLLOW = timedelta(seconds=5)
"""A look at the records asks every server of the zone, and the others learn by NOTIFY what the first one has."""
_CHARACTERS = 500
_PLACE_CHARACTERS = 300


class Step(StrEnum):
    SERVED = "served"
    """A policy host delivers this very text, with a certificate that senders accept."""
    ANNOUNCED = "announced"
    """Every policy host did, so the id may be told."""
    SEEN = "seen"
    """An authoritative server of the domain answers with the id."""


@transaction.atomic
def note_steps(
    version_id: int, kind: Step, looks: Mapping[str, str], *, beside: Collection[str] = ()
) -> None:
    """Keep what was seen at each place. `looks`: place -> why it is not so yet; empty: it is.

    Places that are not among them are forgotten: a host that was taken away keeps nobody waiting. Those of `beside`
    stay as they were.
    """
    version = PolicyVersion.objects.filter(pk=version_id).first()
    if version is None or not Domain.objects.filter(current_version_id=version_id).exists():
        return  # removed, or changed again meanwhile
    rows = VersionStep.objects.filter(version=version, kind=kind)
    before = dict(rows.values_list("place", "done_at"))
    now = clock.now()
    rows.exclude(place__in=[place[:_PLACE_CHARACTERS] for place in (*looks, *beside)]).delete()
    VersionStep.objects.bulk_create(
        [
            VersionStep(
                organisation_id=version.organisation_id,
                version=version,
                kind=kind,
                place=place[:_PLACE_CHARACTERS],
                done_at=None if reason else before.get(place[:_PLACE_CHARACTERS]) or now,
                looked_at=now,
                detail=reason[:_CHARACTERS],
            )
            for place, reason in looks.items()
        ],
        update_conflicts=True,
        unique_fields=["version", "kind", "place"],
        update_fields=["done_at", "looked_at", "detail"],
    )


def is_noted(version_id: int, kind: Step, places: Collection[str]) -> bool:
    """Whether something is known of each of these places."""
    rows = VersionStep.objects.filter(version_id=version_id, kind=kind)
    return rows.filter(place__in=[place[:_PLACE_CHARACTERS] for place in places]).count() == len(places)


def served_since(version_id: int, places: Collection[str]) -> datetime | None:
    """When the last of these places was first seen to serve it without a break; None: one was not yet."""
    rows = VersionStep.objects.filter(version_id=version_id, kind=Step.SERVED)
    done = dict(rows.values_list("place", "done_at"))
    times = [done.get(place[:_PLACE_CHARACTERS]) for place in places]
    seen = [at for at in times if at is not None]
    return max(seen) if seen and len(seen) == len(times) else None


def look_at_records(domain_id: int) -> None:
    """Every server has the id: what the records say is worth a look at once."""
    outbox.put("records", str(domain_id))


def look_again(domain_id: int) -> None:
    """The record was seen to be right: a server that did not have the id yet may have it now."""
    waiting = VersionStep.objects.filter(
        version__domain_id=domain_id,
        kind=Step.SEEN,
        done_at=None,
        version_id=F("version__domain__current_version"),
    )
    if waiting.exists():
        outbox.put("seen", str(domain_id))
