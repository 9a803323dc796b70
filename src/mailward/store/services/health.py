"""The last look of each machine at itself, who asked for one, and who is told of a new problem.

The threat is the mail that nobody reads any more: a service that is being restarted looks broken for a moment. A
problem is told once it was seen twice, a few minutes apart, and again only after it was gone.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Lower

from mailward.net import clock
from mailward.store.models import HealthLook, Membership, Organisation, Role
from mailward.store.services.notices import queue_for

ASK_EVERY = timedelta(minutes=1)
"""Whoever asks, and however often."""
CONFIRM = timedelta(minutes=5)
_SHOWN = 10
_KEEP = timedelta(days=30)
"""A machine that has not looked for so long is none of ours any more."""

Sections = Sequence[Mapping[str, Any]]  # JSON, in the shape of HealthLook.sections


def ask() -> bool:
    """Let every machine look now. False: that was asked, or done, less than a minute ago."""
    now = clock.now()
    early = now - ASK_EVERY
    quiet = (Q(asked_at=None) | Q(asked_at__lte=early)) & (Q(looked_at=None) | Q(looked_at__lte=early))
    return bool(HealthLook.objects.filter(quiet).update(asked_at=now))


@transaction.atomic
def is_due(machine: str, every: timedelta | None) -> bool:
    """Whether this machine is to look now. `every` None: only when somebody asks."""
    row, _ = HealthLook.objects.get_or_create(machine=machine[:64])
    if row.asked_at is not None and (row.looked_at is None or row.asked_at > row.looked_at):
        return True
    if every is None:
        return False
    now = clock.now()
    if row.looked_at is None or not row.looked_at <= now < row.looked_at + every:
        return True
    return bool(set(row.problems) - set(row.told)) and now >= row.looked_at + CONFIRM


@transaction.atomic
def keep(machine: str, sections: Sections, seconds: float) -> list[str]:
    """Remember a look. Returns `check/code` of what people are told of now."""
    row, _ = HealthLook.objects.select_for_update().get_or_create(machine=machine[:64])
    problems: dict[str, list[tuple[str, str]]] = {}
    for section in sections:
        for finding in section["findings"]:
            if finding["grade"] == "problem":
                alike = problems.setdefault(f"{section['name']}/{finding['code']}", [])
                alike.append((str(finding["text"]), str(finding["fix"])))
    before, told = set(row.problems), set(row.told)
    new = sorted(key for key in problems if key in before and key not in told)
    row.problems, row.told = sorted(problems), sorted(told & (before | set(problems)) | set(new))
    row.sections, row.seconds, row.looked_at = list(sections), seconds, clock.now()
    row.save(update_fields=["problems", "told", "sections", "seconds", "looked_at"])
    # who lives and has not looked yet, such as a container's next one, is there again within seconds
    HealthLook.objects.filter(Q(looked_at__lt=clock.now() - _KEEP) | Q(looked_at=None)).delete()
    if new:
        _tell(machine, [each for key in new for each in problems[key]])
    return new


def _tell(machine: str, found: Sequence[tuple[str, str]]) -> None:
    """`found`: what does not work, and what to change; empty: the page tells."""
    organisation = first_organisation()
    if organisation is None:
        return
    lines = ["Mailward has looked at itself, and something does not work:", ""]
    for text, fix in found[:_SHOWN]:
        lines += [f"- {text}", *([f"  What to change: {fix}"] if fix else [])]
    if len(found) > _SHOWN:
        lines.append(f"- and {len(found) - _SHOWN} more")
    lines += ["", "The page says more; in a terminal, so does: mailward doctor"]
    count = f"{len(found)} problems" if len(found) > 1 else "a problem"
    queue_for(
        organisation.pk,
        None,
        operators(organisation.pk),
        f"Mailward on {machine}: {count}",
        lines,
        page="/health/",
    )


def first_organisation() -> Organisation | None:
    """That of whoever set the installation up: its owners and administrators run it."""
    return Organisation.objects.order_by("pk").first()


def operators(organisation_id: int) -> list[str]:
    """The addresses of those who run the installation and want mail."""
    rows = Membership.objects.filter(
        organisation_id=organisation_id,
        role__in=(Role.OWNER, Role.ADMINISTRATOR),
        notify=True,
        user__is_active=True,
    )
    return sorted(set(rows.values_list(Lower("user__email"), flat=True)))
