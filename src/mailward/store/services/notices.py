"""Mails that tell of something once: queued in the transaction of what they tell of."""

import secrets
from collections.abc import Sequence

from django.db.models.functions import Lower

from mailward.net import clock
from mailward.store.models import DomainRecipient, Membership, Notice
from mailward.store.services import outbox


def queue_notice(
    organisation_id: int, domain_id: int | None, subject: str, lines: Sequence[str], *, page: str = ""
) -> int:
    """To everybody who hears of the domain's problems; without a domain, to the organisation's people alone.

    `page`: a path on the console. Returns how many mails.
    """
    members = Membership.objects.filter(organisation_id=organisation_id, notify=True, user__is_active=True)
    named = DomainRecipient.objects.none()
    if domain_id is not None:
        named = DomainRecipient.objects.filter(domain_id=domain_id)
    people = {
        *members.values_list(Lower("user__email"), flat=True),
        *named.values_list(Lower("email"), flat=True),
    }
    return queue_for(organisation_id, domain_id, sorted(people), subject, lines, page=page)


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
