"""The people of an organisation."""

from mailward.net import clock
from mailward.store.models import Invitation, Membership, Organisation, User
from mailward.store.scope import Scope


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
