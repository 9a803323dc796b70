"""People: the first administrator, invitations, roles.

There is no default password anywhere: the first person, and everybody after, comes in by a one-time link.
Only the hash of its token is kept, so that a copy of the database lets nobody in.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction

from mailward.net import clock
from mailward.store.models import Invitation, Membership, Organisation, Role, User
from mailward.store.scope import Scope
from mailward.store.tokens import make_address_token

LINK_LIFETIME = timedelta(hours=24)
INVITATION_LIFETIME = timedelta(days=7)
_FIRST_NAME = "My organisation"


class AccountError(Exception):
    """It cannot be done; the text is a sentence for the person who asked."""


class LinkSpent(AccountError):
    """The link is unknown, used or too old."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What a person says about themselves when they come in."""

    email: str
    name: str
    password: str


@transaction.atomic
def first_administrator_link() -> str | None:
    """A fresh token for `/start/<token>/`, good for 24 hours; None once somebody has an account.

    Earlier links that nobody used stop to work: only the one printed last is good.
    """
    if User.objects.exists():
        return None
    organisation = Organisation.objects.order_by("id").first() or Organisation.objects.create(
        name=_FIRST_NAME, report_token=make_address_token()
    )
    organisation.invitations.filter(used_at=None).delete()
    return _make_link(organisation.pk, email="", role=Role.OWNER, lifetime=LINK_LIFETIME)


def find_invitation(token: str) -> Invitation | None:
    """The invitation that this token opens, unused and in time."""
    return (
        Invitation.objects.select_related("organisation")
        .filter(token_hash=_hash(token), used_at=None, expires_at__gt=clock.now())
        .first()
    )


@transaction.atomic
def start_organisation(token: str, newcomer: Newcomer, organisation_name: str) -> User:
    """The first administrator comes in. Raises LinkSpent."""
    invitation = _take(token)
    if invitation.email or User.objects.exists():
        raise LinkSpent("The first administrator has been made already. Sign in, or ask to be invited.")
    user = User.objects.create_user(newcomer.email, newcomer.password, name=newcomer.name)
    _join(user, invitation)
    Organisation.objects.filter(pk=invitation.organisation_id).update(name=organisation_name)
    return user


@transaction.atomic
def invite(scope: Scope, email: str, role: Role) -> str:
    """A token for `/join/<token>/`, for this address alone; an earlier one for it stops to work.

    Raises AccountError where the person is a member already.
    """
    email = email.strip().lower()
    if scope.memberships().filter(user__email=email).exists():
        raise AccountError(f"{email} is a member already.")
    scope.invitations().filter(email=email, used_at=None).delete()
    return _make_link(scope.organisation_id, email, role, INVITATION_LIFETIME, invited_by=scope.user_id)


@transaction.atomic
def accept_invitation(token: str, newcomer: Newcomer) -> User:
    """A person without an account comes in. The address is the invitation's. Raises AccountError."""
    invitation = _take(token)
    if not invitation.email:
        raise LinkSpent("This link is for the first administrator.")
    if User.objects.filter(email=invitation.email).exists():
        raise AccountError(
            f"{invitation.email} has an account already. Sign in first, then open the link again."
        )
    user = User.objects.create_user(invitation.email, newcomer.password, name=newcomer.name)
    _join(user, invitation)
    return user


@transaction.atomic
def join_signed_in(token: str, user: User) -> Membership:
    """A person with an account comes in. Raises AccountError where the link is for another address."""
    invitation = _take(token)
    if invitation.email != user.email:
        raise AccountError("The invitation is for another mail address than the one you are signed in with.")
    # links for a new password end with each log-in: one that an owner elsewhere was given must not lead in here
    User.objects.filter(pk=user.pk).update(last_login=clock.now())
    return _join(user, invitation)


def withdraw_invitation(scope: Scope, invitation_id: int) -> bool:
    return bool(scope.invitations().filter(pk=invitation_id, used_at=None).delete()[0])


@transaction.atomic
def change_role(scope: Scope, membership_id: int, role: Role) -> Membership:
    """Raises Membership.DoesNotExist, and AccountError where no owner would be left."""
    membership = scope.memberships().select_for_update().select_related("user").get(pk=membership_id)
    if role != Role.OWNER:
        _keep_an_owner(scope, membership)
    membership.role = role
    membership.save(update_fields=["role"])
    return membership


@transaction.atomic
def remove_member(scope: Scope, membership_id: int) -> Membership:
    """Raises Membership.DoesNotExist, and AccountError where no owner would be left."""
    membership = scope.memberships().select_for_update().select_related("user").get(pk=membership_id)
    _keep_an_owner(scope, membership)
    scope.memberships().filter(pk=membership_id).delete()
    return membership


def set_notify(scope: Scope, membership_id: int, *, notify: bool) -> None:
    """Whether this person hears of problems by mail. Everybody decides for themselves; an owner for all."""
    memberships = scope.memberships().filter(pk=membership_id)
    if not scope.may_manage_people:
        memberships = memberships.filter(user_id=scope.user_id)
    if not memberships.update(notify=notify):
        raise Membership.DoesNotExist


def rename_organisation(scope: Scope, name: str) -> None:
    Organisation.objects.filter(pk=scope.organisation_id).update(name=name)


def _make_link(
    organisation_id: int, email: str, role: Role, lifetime: timedelta, invited_by: int | None = None
) -> str:
    token = secrets.token_urlsafe(24)
    Invitation.objects.create(
        organisation_id=organisation_id,
        token_hash=_hash(token),
        email=email,
        role=role,
        invited_by_id=invited_by,
        expires_at=clock.now() + lifetime,
    )
    return token


def _take(token: str) -> Invitation:
    """Spend the token: one conditional UPDATE, so that two clicks at once let one person in."""
    invitation = find_invitation(token)
    if invitation is None or not Invitation.objects.filter(pk=invitation.pk, used_at=None).update(
        used_at=clock.now()
    ):
        raise LinkSpent("This link has been used, or is too old. Ask for a new one.")
    return invitation


def _join(user: User, invitation: Invitation) -> Membership:
    membership, _ = Membership.objects.get_or_create(
        organisation_id=invitation.organisation_id, user=user, defaults={"role": invitation.role}
    )
    return membership


def _keep_an_owner(scope: Scope, leaving: Membership) -> None:
    others = scope.memberships().filter(role=Role.OWNER).exclude(pk=leaving.pk)
    if leaving.role == Role.OWNER and not others.exists():
        raise AccountError("This is the last owner. Make somebody else an owner first.")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
