"""A domain's history: who did what, when and why."""

from enum import StrEnum

from mailward.store.models import DomainEvent

_CHARACTERS = 500


class Kind(StrEnum):
    """Stable. What each says is in its text."""

    POLICY_CHANGED = "policy-changed"
    POLICY_FORCED = "policy-forced"
    """A change that would have been refused."""
    POLICY_ANNOUNCED = "policy-announced"


def note(
    organisation_id: int,
    domain_id: int,
    kind: Kind | str,
    text: str,
    *,
    author_id: int | None = None,
    reason: str = "",
) -> None:
    """Write a line, in the transaction of what it tells of."""
    DomainEvent.objects.create(
        organisation_id=organisation_id,
        domain_id=domain_id,
        kind=str(kind),
        text=text[:_CHARACTERS],
        author_id=author_id,
        reason=reason[:_CHARACTERS],
    )
