"""The members of the organisation."""

from dataclasses import dataclass

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from mailward.net.mailer import MailerError
from mailward.notify import deliver
from mailward.notify.mails import InvitationLetter
from mailward.store.models import Membership, Role
from mailward.store.queries.accounts import list_members, open_invitations
from mailward.store.services import accounts
from mailward.store.services.accounts import AccountError
from mailward.web.access import ScopedRequest, own_page, owner_page, reader_page, writer_page
from mailward.web.pages.accounts.forms import InviteForm, OrganisationForm, RoleForm
from mailward.web.pages.accounts.reset import password_link


@dataclass(frozen=True, slots=True)
class Mailed:
    """What came of the mail with a link."""

    trouble: str = ""
    """Why the relay did not take it; empty: it did."""


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link, shown once."""

    address: str
    email: str
    """Whose it is."""
    is_invitation: bool = False
    """Otherwise it is for a new password."""
    mailed: Mailed | None = None
    """None: no mail was wanted."""


@reader_page
def people(request: ScopedRequest) -> HttpResponse:
    return _render(request)


@owner_page
@never_cache
@require_POST
def invite(request: ScopedRequest) -> HttpResponse:
    """The link is in this answer, and in the mail if one is wanted: only its hash is kept."""
    form = InviteForm(request.POST, can_mail=_can_mail())
    if not form.is_valid():
        return _render(request, form)
    email, role = form.cleaned_data["email"].lower(), Role(form.cleaned_data["role"])
    try:
        token = accounts.invite(request.scope, email, role)
    except AccountError as error:
        form.add_error("email", str(error))
        return _render(request, form)
    link = settings.MAILWARD.console_url + reverse("join", args=[token])
    mailed = _mail_invitation(request, email, role, link) if form.cleaned_data.get("mail") else None
    return _render(request, handed=Link(link, email, is_invitation=True, mailed=mailed))


@owner_page
@require_POST
def withdraw(request: ScopedRequest, invitation_id: int) -> HttpResponse:
    if not accounts.withdraw_invitation(request.scope, invitation_id):
        raise Http404
    messages.success(request, "The invitation is withdrawn; its link no longer works.")
    return redirect("people")


@owner_page
@require_POST
def change_role(request: ScopedRequest, membership_id: int) -> HttpResponse:
    form = RoleForm(request.POST)
    if not request.scope.memberships().filter(pk=membership_id).exists():
        raise Http404
    if not form.is_valid():
        messages.error(request, "There is no such role.")
        return redirect("people")
    try:
        membership = accounts.change_role(request.scope, membership_id, Role(form.cleaned_data["role"]))
    except Membership.DoesNotExist:
        raise Http404 from None
    except AccountError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{membership.user} is now {Role(membership.role).label.lower()}.")
    return redirect("people")


@owner_page
@require_POST
def remove(request: ScopedRequest, membership_id: int) -> HttpResponse:
    try:
        membership = accounts.remove_member(request.scope, membership_id)
    except Membership.DoesNotExist:
        raise Http404 from None
    except AccountError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{membership.user} is no longer a member.")
    return redirect("home" if _has_left(request) else "people")


@owner_page
@never_cache
@require_POST
def new_password(request: ScopedRequest, membership_id: int) -> HttpResponse:
    """A link for a member who forgot their password, for an owner to hand over."""
    membership = request.scope.memberships().select_related("user").filter(pk=membership_id).first()
    if membership is None:
        raise Http404
    if Membership.objects.filter(user=membership.user).count() > 1:
        # the link is the account: an owner here must not get into another organisation by it
        messages.error(
            request,
            f"{membership.user} belongs to another organisation too, so a link from here will not do. "
            + (
                "“Forgot your password?” on the page for signing in sends them one."
                if _can_mail()
                else "Whoever runs this installation can make one: mailward user link."
            ),
        )
        return redirect("people")
    return _render(request, handed=Link(password_link(membership.user), membership.user.email))


@own_page
@require_POST
def set_notify(request: ScopedRequest, membership_id: int) -> HttpResponse:
    notify = request.POST.get("notify") == "yes"
    try:
        accounts.set_notify(request.scope, membership_id, notify=notify)
    except Membership.DoesNotExist:
        raise Http404 from None
    messages.success(request, "Problems are told by mail." if notify else "No mail about problems any more.")
    return redirect("people")


@owner_page
@require_POST
def rename(request: ScopedRequest) -> HttpResponse:
    form = OrganisationForm(request.POST)
    if form.is_valid():
        accounts.rename_organisation(request.scope, form.cleaned_data["name"])
        messages.success(request, "The organisation has a new name.")
    else:
        messages.error(request, "A name has 1 to 200 characters.")
    return redirect("people")


@writer_page
@require_POST
def test_mail(request: ScopedRequest) -> HttpResponse:
    """Send a mail to the person who asks, now, and say what came of it."""
    if not settings.MAILWARD.relay.host:
        messages.error(request, "The test mail was not sent: no mail relay is configured.")
        return redirect("people")
    try:
        # not asyncio.run: what it awaits of the store must come back to this thread
        async_to_sync(deliver.send_test)(settings.MAILWARD, request.user.email)
    except MailerError as error:
        messages.error(request, f"The test mail could not be sent: {error.detail}")
    else:
        messages.success(request, f"The relay took a test mail for {request.user.email}.")
    return redirect("people")


def _has_left(request: ScopedRequest) -> bool:
    """Whether the person has just left."""
    return not request.scope.memberships().filter(user=request.user).exists()


def _can_mail() -> bool:
    return bool(settings.MAILWARD.relay.host)


def _mail_invitation(request: ScopedRequest, email: str, role: Role, link: str) -> Mailed:
    letter = InvitationLetter(
        recipient=email,
        organisation=request.scope.organisation().name,
        role=role.label.lower(),
        inviter=str(request.user),
        link=link,
        days=accounts.INVITATION_LIFETIME.days,
    )
    try:
        # not asyncio.run: what it awaits of the store must come back to this thread
        async_to_sync(deliver.send_invitation)(settings.MAILWARD, letter)
    except MailerError as error:
        return Mailed(trouble=error.detail)
    return Mailed()


def _render(
    request: ScopedRequest, form: InviteForm | None = None, *, handed: Link | None = None
) -> HttpResponse:
    organisation = request.scope.organisation()
    context = {
        "members": list_members(request.scope),
        "invitations": open_invitations(request.scope),
        "form": form or InviteForm(can_mail=_can_mail()),
        "organisation": organisation,
        "organisation_form": OrganisationForm(initial={"name": organisation.name}),
        "roles": Role.choices,
        "handed": handed,
    }
    return render(request, "accounts/people.html", context)
