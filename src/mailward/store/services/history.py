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
    ROLLOUT_STATE = "rollout-state"
    """The verdict on its way to enforce changed."""
    ROLLOUT_CHOSEN = "rollout-chosen"
    ROLLOUT_PROMOTED = "rollout-promoted"
    ROLLOUT_REFUSED = "rollout-refused"
    ROLLOUT_STEPPED_BACK = "rollout-stepped-back"
    ROLLOUT_JUMP = "rollout-jump"
    """Refused sessions jumped under enforce."""


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
    make(organisation_id, domain_id, kind, text, author_id=author_id, reason=reason).save()


def make(
    organisation_id: int,
    domain_id: int,
    kind: Kind | str,
    text: str,
    *,
    author_id: int | None = None,
    reason: str = "",
) -> DomainEvent:
    """A line that is not written yet, for who writes many."""
    return DomainEvent(
        organisation_id=organisation_id,
        domain_id=domain_id,
        kind=str(kind),
        text=text[:_CHARACTERS],
        author_id=author_id,
        reason=reason[:_CHARACTERS],
    )
