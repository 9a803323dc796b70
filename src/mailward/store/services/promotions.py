"""People hear of what was enforced by itself: each once an hour at most, of all their domains together."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction

from mailward.core.explain.rollout import say_enforced
from mailward.core.mtasts.policy import Mode
from mailward.net import clock
from mailward.store.models import Domain
from mailward.store.queries.evidence import chunks
from mailward.store.services import outbox
from mailward.store.services.notices import people_of, queue_for

KIND = "promoted"
"""Of the outbox: the keys are domain ids."""


def put(domain_id: int) -> None:
    """From within the transaction that enforces it. All wait for the same moment, so that they are told together."""
    begun = clock.now().replace(minute=0, second=0, microsecond=0)
    outbox.put(KIND, str(domain_id), available_at=begun + timedelta(hours=1))


@transaction.atomic
def tell(domain_ids: Sequence[int]) -> int:
    """Queue the mails about those that are enforced still. Returns how many."""
    names: defaultdict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for chunk in chunks(sorted(set(domain_ids))):
        enforced = Domain.objects.filter(pk__in=chunk, current_version__mode=Mode.ENFORCE)
        found = {each.pk: each for each in enforced}
        people = people_of({key: each.organisation_id for key, each in found.items()})
        for key, each in found.items():
            for person in people[key]:
                names[each.organisation_id, person][each.name] = key
    told = 0
    for (organisation_id, person), domains in sorted(names.items()):
        subject, lines = say_enforced(sorted(domains))
        (name, key), *others = domains.items()
        about, page = (None, "/rollout/") if others else (key, f"/domains/{name}/rollout/")
        told += queue_for(organisation_id, about, [person], subject, lines, page=page)
    return told
