"""People hear of what was enforced by itself: each once an hour at most, of all their domains together."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from django.db import transaction

from mailward.core.explain.rollout import say_enforced
from mailward.core.mtasts.policy import Mode
from mailward.net import clock
from mailward.store.models import Domain
from mailward.store.queries.evidence import chunks
from mailward.store.services import outbox
from mailward.store.services.notices import by_person, queue_for

KIND = "promoted"
"""Of the outbox: the keys are domain ids."""


def put(domain_id: int) -> None:
    """From within the transaction that enforces it. All wait for the same moment, so that they are told together."""
    begun = clock.now().replace(minute=0, second=0, microsecond=0)
    outbox.put(KIND, str(domain_id), available_at=begun + timedelta(hours=1))


@transaction.atomic
def tell(domain_ids: Sequence[int]) -> int:
    """Queue the mails about those that are enforced still. Returns how many."""
    told = 0
    rows = ((organisation_id, key, (name, key)) for organisation_id, key, name in _enforced(domain_ids))
    for (organisation_id, person), domains in sorted(by_person(rows).items()):
        subject, lines = say_enforced(sorted(name for name, _ in domains))
        (name, key), *others = domains
        about, page = (None, "/rollout/") if others else (key, f"/domains/{name}/rollout/")
        told += queue_for(organisation_id, about, [person], subject, lines, page=page)
    return told


def _enforced(domain_ids: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    for chunk in chunks(sorted(set(domain_ids))):
        enforced = Domain.objects.filter(pk__in=chunk, current_version__mode=Mode.ENFORCE)
        yield from enforced.values_list("organisation_id", "pk", "name")
