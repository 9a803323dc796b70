"""How the machines of the installation were found."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mailward.net import clock
from mailward.store.models import HealthLook, Organisation
from mailward.store.scope import Scope
from mailward.store.services.health import ASK_EVERY

_LOOK_TAKES = timedelta(minutes=5)
"""At most, with the wait before it: who was asked before that and has not looked is gone."""


@dataclass(frozen=True, slots=True)
class Machine:
    name: str
    looked_at: datetime | None
    seconds: float
    is_asked: bool
    """A look is wanted, and not done yet."""
    may_ask: bool
    is_silent: bool
    """It should have looked since: what it found then says nothing of now."""
    sections: list[Any]  # JSON, in the shape of HealthLook.sections


def machines(every_hours: int) -> list[Machine]:
    """`every_hours`: how often each looks by itself; 0: it does not."""
    now = clock.now()
    return [
        Machine(
            row.machine,
            row.looked_at,
            row.seconds,
            row.asked_at is not None
            and row.asked_at > now - _LOOK_TAKES
            and (row.looked_at is None or row.asked_at > row.looked_at),
            all(at is None or at <= now - ASK_EVERY for at in (row.asked_at, row.looked_at)),
            row.looked_at is not None and row.looked_at < _silent_before(now, every_hours),
            row.sections,
        )
        for row in HealthLook.objects.order_by("machine")
    ]


def problem_count(every_hours: int) -> int:
    """Over all machines that look."""
    rows = HealthLook.objects.filter(looked_at__gte=_silent_before(clock.now(), every_hours))
    return sum(len(problems) for problems in rows.values_list("problems", flat=True))


def _silent_before(now: datetime, every_hours: int) -> datetime:
    return now - 2 * timedelta(hours=every_hours) if every_hours else datetime.min.replace(tzinfo=UTC)


def runs_installation(scope: Scope) -> bool:
    """Whether the person may see what is about the installation as a whole: those who may write in its first
    organisation. Others are its guests.
    """
    if not scope.may_write:
        return False
    return Organisation.objects.order_by("pk").values_list("pk", flat=True).first() == scope.organisation_id
