"""Domains: added, proved, checked, removed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from django.db import transaction

from mailward.core import names
from mailward.net import clock
from mailward.store.models import Domain, DomainRecipient, QuarantinedMessage, RawMessage, RecordCheck, Report
from mailward.store.queries.hosting import POLICY_HOST, leads_to_us
from mailward.store.scope import Scope
from mailward.store.services import dnsupdates, outbox
from mailward.store.services.hosting import bump_generation
from mailward.store.tokens import make_address_token, make_claim_token

CLAIM = "claim"
"""The key of the record that proves a claim (mailward.monitor.records)."""
RIGHT = "right"
MAX_RECIPIENTS = 20
_REPORTS_A_TRANSACTION = 500


class DomainExists(Exception):
    """The organisation has this domain already."""


class TooManyRecipients(Exception):
    """A domain has at most MAX_RECIPIENTS."""


class ClaimHeld(Exception):
    """Another organisation has proved the domain, and its record still stands."""


class ObservedRecord(Protocol):
    """What monitor.records.check_records says of one record."""

    @property
    def key(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def observed(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Added:
    created: tuple[Domain, ...]
    already_there: tuple[str, ...]


def create_domain(scope: Scope, name: names.Domain) -> Domain:
    """Raises DomainExists."""
    added = create_domains(scope, [name])
    if not added.created:
        raise DomainExists(name)
    return added.created[0]


@transaction.atomic
def create_domains(scope: Scope, wanted: Iterable[names.Domain]) -> Added:
    """Add those that the organisation does not have yet, in one transaction."""
    distinct = list(dict.fromkeys(wanted))
    there = set(scope.domains().filter(name__in=distinct).values_list("name", flat=True))
    created = make_domains(scope.organisation_id, [name for name in distinct if name not in there])
    return Added(tuple(created), tuple(name for name in distinct if name in there))


def make_domains(organisation_id: int, wanted: Iterable[names.Domain]) -> list[Domain]:
    """With their tokens, within the caller's transaction. None of them may be there yet."""
    created = Domain.objects.bulk_create(
        Domain(
            organisation_id=organisation_id,
            name=name,
            report_token=make_address_token(),
            claim_token=make_claim_token(),
        )
        for name in wanted
    )
    if created:
        bump_generation(*(domain.pk for domain in created))
        # the first look at whether its name leads to us; without a CA in the settings nobody looks
        outbox.put_many(outbox.Item("certificate", str(domain.pk)) for domain in created)
        # claim and policy host's name: without them nothing is proved, and no certificate is had
        dnsupdates.put_domains(created)
    return created


def delete_domain(scope: Scope, domain_id: int) -> None:
    """Remove it with its policies, reports and figures; its policy is served no longer.

    Many short transactions, so that reports of other domains still come in. One that dies on the way leaves a
    domain without a policy and with fewer reports: removing it again goes on.
    """
    domain = scope.domains().get(pk=domain_id)
    with transaction.atomic():
        Domain.objects.filter(pk=domain.pk).update(current_version=None, announced_version=None)
        bump_generation(domain.pk)
    while _delete_some_reports(domain.pk):
        pass
    with transaction.atomic():
        dnsupdates.put_removal(domain)
        Domain.objects.filter(pk=domain.pk).delete()
        bump_generation(domain.pk)


@transaction.atomic
def _delete_some_reports(domain_id: int) -> int:
    rows = dict(
        Report.objects.filter(domain_id=domain_id).values_list("id", "raw_id")[:_REPORTS_A_TRANSACTION]
    )
    Report.objects.filter(pk__in=rows).delete()
    shared = {
        *Report.objects.filter(raw_id__in=rows.values()).values_list("raw_id", flat=True),
        *QuarantinedMessage.objects.filter(raw_id__in=rows.values()).values_list("raw_id", flat=True),
    }
    RawMessage.objects.filter(pk__in=set(rows.values()) - shared).delete()
    return len(rows)


@transaction.atomic
def verify_claim(domain_id: int) -> bool:
    """The claim's record was seen: from now on the domain is proved. True where that is new.

    A claim proved earlier by another organisation gives way once its own record is gone: the domain has
    changed hands. While both records stand the first keeps it, or the two would take turns: ClaimHeld.
    """
    domain = Domain.objects.select_for_update().get(pk=domain_id)
    if domain.claim_verified_at is not None:
        return False
    holder = Domain.objects.filter(name=domain.name, claim_verified_at__isnull=False).first()
    if holder is not None:
        if holder.record_checks.filter(record=CLAIM, state=RIGHT).exists():
            raise ClaimHeld(domain.name)
        Domain.objects.filter(pk=holder.pk).update(claim_verified_at=None)
    Domain.objects.filter(pk=domain_id).update(claim_verified_at=clock.now())
    if domain.current_version_id is not None:
        outbox.put("announce", str(domain_id))  # it may be served only from now on
    bump_generation(domain_id, *([holder.pk] if holder is not None else []))
    outbox.put("certificate", str(domain_id))
    return True


@transaction.atomic
def record_states(
    domain_id: int, states: Iterable[ObservedRecord], checked_at: datetime | None = None
) -> None:
    """Keep the last answer to each record."""
    moment = checked_at or clock.now()
    states = tuple(states)
    organisation_id = Domain.objects.values_list("organisation_id", flat=True).get(pk=domain_id)
    _tell_whether_it_leads_to_us(domain_id, states)
    RecordCheck.objects.bulk_create(
        (
            RecordCheck(
                organisation_id=organisation_id,
                domain_id=domain_id,
                record=state.key,
                state=state.state,
                detail=state.detail,
                observed=list(state.observed),
                checked_at=moment,
            )
            for state in states
        ),
        update_conflicts=True,
        unique_fields=["domain", "record"],
        update_fields=["state", "detail", "observed", "checked_at"],
    )
    Domain.objects.filter(pk=domain_id).update(records_checked_at=moment)


def _tell_whether_it_leads_to_us(domain_id: int, states: Iterable[ObservedRecord]) -> None:
    """Where that changes: fronts may have a certificate for its name from now on, or may not."""
    seen = next((state.state for state in states if state.key == POLICY_HOST), None)
    if seen is None:
        return
    before = RecordCheck.objects.filter(domain_id=domain_id, record=POLICY_HOST).first()
    was_right = before is not None and before.was_right
    leads = leads_to_us(seen, was_right=was_right)
    if leads == (before is not None and leads_to_us(before.state, was_right=was_right)):
        return
    bump_generation(domain_id, zone=False)
    if leads:
        outbox.put("announce", str(domain_id))  # what waited for a certificate may be served now


@transaction.atomic
def add_recipient(scope: Scope, domain_id: int, email: str) -> DomainRecipient:
    """Somebody who hears of the domain's problems without a login; asking twice is the same."""
    domain = scope.domains().get(pk=domain_id)
    if scope.recipients().filter(domain=domain).count() >= MAX_RECIPIENTS:
        raise TooManyRecipients
    recipient, _ = DomainRecipient.objects.get_or_create(
        domain=domain, email=email.strip().lower(), defaults={"organisation_id": scope.organisation_id}
    )
    return recipient


def remove_recipient(scope: Scope, domain_id: int, recipient_id: int) -> bool:
    return bool(scope.recipients().filter(domain_id=domain_id, pk=recipient_id).delete()[0])
