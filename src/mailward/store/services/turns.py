"""Several nodes on one database: whose turn regular work is, and whether their clocks agree."""

from datetime import timedelta

from django.db import connection
from django.db.models import Q

from mailward.net import clock
from mailward.store.models import ServiceState

MAX_SKEW = timedelta(seconds=5)
"""Claims end by the clock of the node that looks. A node whose clock is further from the database's claims nothing; so
two that do are within ten seconds of each other, and the shortest lease is thirty.
"""


def is_ours(name: str, every: timedelta) -> bool:
    """Whether it falls to this node to do now what is to be done so often: one conditional UPDATE.

    With SQLite there is one node: always.
    """
    if connection.vendor == "sqlite":
        return True
    now, row = clock.now(), ServiceState.objects.filter(name=f"timed {name}")
    # a tenth early: the timers of the nodes do not tick together
    due = Q(changed_at__lte=now - every * 0.9) | Q(changed_at__gt=now + MAX_SKEW * 2)
    if row.filter(due).update(changed_at=now):
        return True
    new = {"ok": True, "changed_at": now}
    return ServiceState.objects.get_or_create(name=f"timed {name}", defaults=new)[1]


def seconds_ahead() -> float:
    """How far this machine's clock is ahead of the database's, give or take half the way there and back."""
    if connection.vendor == "sqlite":
        return 0.0
    with connection.cursor() as cursor:
        before = clock.now()
        cursor.execute("SELECT clock_timestamp()")
        there = cursor.fetchone()[0]
        after = clock.now()
    return float(((before - there) + (after - there)).total_seconds() / 2)
