"""Domains that show a problem of their own MX records or policy, while others have the same one open: people hear of
them too. What a shared MX host itself does wrong is one problem, and told once.

The bounds are those of new problems (store.services.notifications): what joins within the same delay shares a mail,
and from the sixth mail of a day on one comes every four hours.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, Max

from mailward.core.check.codes import Code
from mailward.core.explain.following import FOLLOW_HELD, FOLLOW_LEFT
from mailward.core.explain.joined import say_joined
from mailward.net import clock
from mailward.store.models import Notice, Notification, Problem, ProblemDomain
from mailward.store.queries.evidence import chunks
from mailward.store.services import outbox
from mailward.store.services.notices import by_person, queue_for
from mailward.store.services.notifications import MAILS_A_DAY, SHARED_EVERY

KIND = "joined"
"""Of the outbox: the keys are `problem id:domain id:code`."""
OF_DOMAIN = frozenset((Code.MX_NOT_IN_POLICY.value, FOLLOW_HELD, FOLLOW_LEFT))
"""Causes that each domain has for itself, though the MX host is the same."""
_PAGE = "/problems/"
_EVERY = timedelta(hours=1)


class Joined(NamedTuple):
    problem_id: int
    domain_id: int
    code: str

    @property
    def key(self) -> str:
        return f"{self.problem_id}:{self.domain_id}:{self.code}"


def read_key(key: str) -> Joined:
    problem_id, domain_id, code = key.split(":", 2)
    return Joined(int(problem_id), int(domain_id), code)


def put(joined: Joined, settled: datetime) -> bool:
    """From within the transaction of the change. False: nobody was told of the problem yet, so that its own mail will
    name the domain.
    """
    if not Notification.objects.filter(problem_id=joined.problem_id).exists():
        return False
    outbox.put(KIND, joined.key, available_at=settled)
    return True


@transaction.atomic
def tell(joined: Iterable[Joined]) -> int:
    """Queue the mails about those that show it still; an organisation that was told lately waits. Returns how many."""
    by_organisation: defaultdict[int, list[tuple[Joined, Problem, str]]] = defaultdict(list)
    wanted = {(each.problem_id, each.domain_id): each for each in joined}
    for chunk in chunks(sorted({domain_id for _, domain_id in wanted})):
        rows = ProblemDomain.objects.filter(
            domain_id__in=chunk, is_checked=True, gone_at=None, problem__closed_at=None
        )
        for row in rows.select_related("problem", "domain").order_by("pk"):
            if (each := wanted.get((row.problem_id, row.domain_id))) is not None:
                by_organisation[row.organisation_id].append((each, row.problem, row.domain.name))
    told = 0
    for organisation_id, found in sorted(by_organisation.items()):
        if (wait_until := _wait_until(organisation_id)) is not None:
            outbox.put_many(outbox.Item(KIND, each.key, None, wait_until) for each, _, _ in found)
            continue
        told += _tell(organisation_id, found)
    return told


def _tell(organisation_id: int, found: list[tuple[Joined, Problem, str]]) -> int:
    shares = by_person((organisation_id, row[0].domain_id, row) for row in found)
    for (_, person), rows in sorted(shares.items()):
        causes: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for each, problem, name in sorted(rows, key=lambda row: (row[0].code, row[1].host, row[2])):
            causes[each.code, problem.host].append(name)
        domains = {each.domain_id for each, _, _ in rows}
        problems = {problem.pk for _, problem, _ in rows}
        told = Notification.objects.filter(problem__in=problems, recipient=person).values("problem")
        subject, lines = say_joined(causes, was_told=told.distinct().count() == len(problems))
        page = f"{_PAGE}{min(problems)}/" if len(problems) == 1 else _PAGE
        queue_for(
            organisation_id, min(domains) if len(domains) == 1 else None, [person], subject, lines, page=page
        )
    return len(shares)


def _wait_until(organisation_id: int) -> datetime | None:
    """None: there is no need to wait."""
    now = clock.now()
    lately = Notice.objects.filter(
        organisation_id=organisation_id,
        page__startswith=_PAGE,
        queued_at__gt=now - timedelta(days=1),
        queued_at__lte=now,
    )
    people = lately.order_by().values("recipient").annotate(count=Count("pk"), last=Max("queued_at"))
    waits = [row["last"] + (_EVERY if row["count"] < MAILS_A_DAY else SHARED_EVERY) for row in people]
    return until if (until := max(waits, default=now)) > now else None
