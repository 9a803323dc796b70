"""How the machines of the installation were found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mailward.net import clock
from mailward.store.models import HealthLook, Organisation
from mailward.store.scope import Scope
from mailward.store.services.health import ASK_EVERY


@dataclass(frozen=True, slots=True)
class Machine:
    name: str
    looked_at: datetime | None
    seconds: float
    is_asked: bool
    """A look is wanted, and not done yet."""
    may_ask: bool
    sections: list[Any]  # JSON, in the shape of HealthLook.sections


def machines() -> list[Machine]:
    now = clock.now()
    return [
        Machine(
            row.machine,
            row.looked_at,
            row.seconds,
            row.asked_at is not None and (row.looked_at is None or row.asked_at > row.looked_at),
            all(at is None or at <= now - ASK_EVERY for at in (row.asked_at, row.looked_at)),
            row.sections,
        )
        for row in HealthLook.objects.order_by("machine")
    ]


def problem_count() -> int:
    """Over all machines."""
    return sum(len(problems) for problems in HealthLook.objects.values_list("problems", flat=True))


def runs_installation(scope: Scope) -> bool:
    """Whether the person may see what is about the installation as a whole: those who may write in its first
    organisation. Others are its guests.
    """
    if not scope.may_write:
        return False
    return Organisation.objects.order_by("pk").values_list("pk", flat=True).first() == scope.organisation_id
