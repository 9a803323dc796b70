"""Mails that tell of something once: queued in the transaction of what they tell of."""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from django.db.models.functions import Lower

from mailward.net import clock
from mailward.store.models import DomainRecipient, Membership, Notice
from mailward.store.queries.evidence import chunks
from mailward.store.services import outbox

_T = TypeVar("_T")


def queue_notice(
    organisation_id: int, domain_id: int | None, subject: str, lines: Sequence[str], *, page: str = ""
) -> int:
    """To everybody who hears of the domain's problems; without a domain, to the organisation's people alone.

    `page`: a path on the console. Returns how many mails.
    """
    people = _members([organisation_id])[organisation_id]
    if domain_id is not None:
        people = _people_of({domain_id: organisation_id})[domain_id]
    return queue_for(organisation_id, domain_id, sorted(people), subject, lines, page=page)


def by_person(rows: Iterable[tuple[int, int, _T]]) -> dict[tuple[int, str], list[_T]]:
    """`rows`: the ids of an organisation and a domain of its, and what to tell. Returns, by organisation and mail
    address, what is of domains whose problems this person hears of.
    """
    rows = list(rows)
    organisations = {domain_id: organisation_id for organisation_id, domain_id, _ in rows}
    people: dict[int, set[str]] = {}
    for chunk in chunks(sorted(organisations)):
        people |= _people_of({domain_id: organisations[domain_id] for domain_id in chunk})
    found: defaultdict[tuple[int, str], list[_T]] = defaultdict(list)
    for organisation_id, domain_id, row in rows:
        for person in people[domain_id]:
            found[organisation_id, person].append(row)
    return found


def _people_of(organisations: Mapping[int, int]) -> dict[int, set[str]]:
    """`organisations`: by the domain's id. Returns the mail addresses of all who hear of each domain's problems."""
    members = _members(set(organisations.values()))
    people = {
        domain_id: set(members[organisation_id]) for domain_id, organisation_id in organisations.items()
    }
    named = DomainRecipient.objects.filter(domain_id__in=list(organisations))
    for domain_id, address in named.values_list("domain_id", Lower("email")):
        people[domain_id].add(address)
    return people


def _members(organisation_ids: Collection[int]) -> defaultdict[int, set[str]]:
    found: defaultdict[int, set[str]] = defaultdict(set)
    rows = Membership.objects.filter(organisation_id__in=organisation_ids, notify=True, user__is_active=True)
    for organisation_id, address in rows.values_list("organisation_id", Lower("user__email")):
        found[organisation_id].add(address)
    return found


def queue_for(
    organisation_id: int,
    domain_id: int | None,
    people: Sequence[str],
    subject: str,
    lines: Sequence[str],
    *,
    page: str = "",
) -> int:
    """To these addresses. Returns how many mails."""
    rows = [
        Notice(
            organisation_id=organisation_id,
            domain_id=domain_id,
            recipient=person,
            subject=subject[:200],
            page=page[:300],
            lines=list(lines),
            message_id=f"notice.{secrets.token_hex(16)}",
            queued_at=clock.now(),
        )
        for person in people
    ]
    Notice.objects.bulk_create(rows)
    outbox.put_many(outbox.Item("notice", row.message_id) for row in rows)
    return len(rows)


def unsent(message_id: str) -> Notice | None:
    return Notice.objects.select_related("domain").filter(message_id=message_id, sent_at=None).first()


def mark_sent(notice: Notice) -> None:
    Notice.objects.filter(pk=notice.pk).update(sent_at=clock.now(), error="")


def mark_failed(notice: Notice, reason: str) -> None:
    Notice.objects.filter(pk=notice.pk).update(error=reason[:500])
