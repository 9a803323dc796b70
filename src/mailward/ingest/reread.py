"""Quarantine, read once more: after an upgrade, what could not be read may be a report."""

import msgspec
from django.conf import settings as django_settings
from django.db import transaction

from mailward.config import Settings
from mailward.ingest.accept import (
    Arrival,
    Draft,
    judge_by_door,
    judge_mail,
    limits_of,
    read_arrival,
)
from mailward.ingest.addresses import ReportAddress, address_of_domain, address_of_organisation
from mailward.ingest.keys import KeyFinder, make_key_resolver
from mailward.net import clock
from mailward.net.resolver import Resolver
from mailward.store.aio import in_store
from mailward.store.models import Door, QuarantinedMessage, Report, Trust
from mailward.store.services.incoming import Incoming, Judgement, Stored, clean
from mailward.store.services.reports import store_batch


async def reread(quarantine_id: int, *, resolver: Resolver | None = None) -> Stored:
    """Read a quarantined message again, and store the reports that it holds now. It leaves quarantine once all of it
    can be read.

    `Stored.quarantine_id` is set where it, or a part of it, still cannot. Raises QuarantinedMessage.DoesNotExist.
    """
    settings: Settings = django_settings.MAILWARD
    arrival = await in_store(_arrival, quarantine_id)
    draft = read_arrival(arrival, limits_of(settings))
    return await in_store(_settle, quarantine_id, await _judged(draft, settings, resolver))


async def _judged(draft: Draft, settings: Settings, resolver: Resolver | None) -> Incoming:
    if not draft.reports:
        return draft.judged(Judgement(Trust.UNVERIFIED))
    if draft.arrival.door is not Door.SMTP:
        return draft.judged(judge_by_door(draft.arrival))
    finder = KeyFinder(resolver or make_key_resolver(settings.dns))
    keys = await finder.find(draft.signatures)
    authserv_ids = settings.reports.authserv_ids
    return draft.judged(judge_mail(draft, keys, settings.reports.domain, authserv_ids=authserv_ids))


def _arrival(quarantine_id: int) -> Arrival:
    kept = QuarantinedMessage.objects.select_related("raw", "address_domain").get(pk=quarantine_id)
    return Arrival(
        Door(kept.raw.door),
        _address(kept),
        bytes(kept.raw.content),
        kept.received_at,
        kept.raw.name,
        kept.imported_by_id,
        kept.from_relay,
    )


def _address(kept: QuarantinedMessage) -> ReportAddress:
    if kept.address_domain is not None:
        return address_of_domain(kept.address_domain)
    return address_of_organisation(kept.organisation_id)


def _still_unreadable(quarantine_id: int, unreadable: tuple[str, str]) -> None:
    code, detail = unreadable
    QuarantinedMessage.objects.filter(pk=quarantine_id).update(
        reason=clean(code, 40), detail=clean(detail, 500), read_again_at=clock.now()
    )


@transaction.atomic
def _settle(quarantine_id: int, incoming: Incoming) -> Stored:
    raw_id = QuarantinedMessage.objects.values_list("raw_id", flat=True).get(pk=quarantine_id)
    # what was read of it when it came is no copy
    there = {bytes(each) for each in Report.objects.filter(raw=raw_id).values_list("content_hash", flat=True)}
    reports = tuple(each for each in incoming.reports if each.content_hash not in there)
    (stored,) = store_batch([msgspec.structs.replace(incoming, reports=reports, unreadable=None)])
    if stored.refused:
        return stored
    if incoming.unreadable is None:
        QuarantinedMessage.objects.filter(pk=quarantine_id).delete()
        return stored
    _still_unreadable(quarantine_id, incoming.unreadable)
    return msgspec.structs.replace(stored, quarantine_id=quarantine_id)
