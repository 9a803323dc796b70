"""The people of an organisation, and the organisations of a person."""

from dataclasses import dataclass
from datetime import datetime

from mailward.net import clock
from mailward.store.models import Invitation, Membership, Organisation, User
from mailward.store.scope import Scope


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, as the operator of the installation sees them."""

    email: str
    name: str
    last_login: datetime | None
    roles: tuple[tuple[str, str], ...]
    """Organisation and role in it, the first joined first."""


def list_members(scope: Scope) -> list[Membership]:
    return list(scope.memberships().select_related("user").order_by("user__email"))


def open_invitations(scope: Scope) -> list[Invitation]:
    """Those that still let somebody in."""
    waiting = scope.invitations().filter(used_at=None, expires_at__gt=clock.now()).exclude(email="")
    return list(waiting.select_related("invited_by").order_by("-created_at"))


def several_organisations() -> bool:
    """Then only policies of proved domains are served."""
    return Organisation.objects.count() > 1


def nobody_has_an_account() -> bool:
    return not User.objects.exists()


def list_people() -> list[Person]:
    """Everybody with an account, of whatever organisation: for the operator, never for a page."""
    roles: dict[int, list[tuple[str, str]]] = {}
    for membership in Membership.objects.select_related("organisation").order_by("id"):
        told = (membership.organisation.name, membership.get_role_display().lower())
        roles.setdefault(membership.user_id, []).append(told)
    return [
        Person(user.email, user.name, user.last_login, tuple(roles.get(user.pk, ())))
        for user in User.objects.order_by("email")
    ]


def find_person(email: str) -> User | None:
    """For the operator: whoever signs in with this address."""
    return User.objects.filter(email=email.strip().lower()).first()


def organisations_of(user_id: int) -> list[Membership]:
    """A person's memberships, each with its organisation, by the organisation's name."""
    memberships = Membership.objects.filter(user_id=user_id).select_related("organisation")
    return list(memberships.order_by("organisation__name", "organisation_id"))
