"""The members of the organisation."""

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
from mailward.store.models import Membership, Role
from mailward.store.queries.accounts import list_members, open_invitations
from mailward.store.services import accounts
from mailward.store.services.accounts import AccountError
from mailward.web.access import ScopedRequest, own_page, owner_page, reader_page, writer_page
from mailward.web.pages.accounts.forms import InviteForm, OrganisationForm, RoleForm
from mailward.web.pages.accounts.reset import password_link


@reader_page
def people(request: ScopedRequest) -> HttpResponse:
    return _render(request, InviteForm())


@owner_page
@never_cache
@require_POST
def invite(request: ScopedRequest) -> HttpResponse:
    """The link is in this answer and nowhere else: only its hash is kept."""
    form = InviteForm(request.POST)
    if not form.is_valid():
        return _render(request, form)
    email = form.cleaned_data["email"].lower()
    try:
        token = accounts.invite(request.scope, email, Role(form.cleaned_data["role"]))
    except AccountError as error:
        form.add_error("email", str(error))
        return _render(request, form)
    link = settings.MAILWARD.console_url + reverse("join", args=[token])
    return _render(request, InviteForm(), link=link, invited=email)


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
            request, f"{membership.user} belongs to another organisation too, and needs a mail for it."
        )
        return redirect("people")
    return _render(request, InviteForm(), link=password_link(membership.user), renewed=membership.user.email)


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


def _render(
    request: ScopedRequest, form: InviteForm, *, link: str = "", invited: str = "", renewed: str = ""
) -> HttpResponse:
    organisation = request.scope.organisation()
    context = {
        "members": list_members(request.scope),
        "invitations": open_invitations(request.scope),
        "form": form,
        "organisation": organisation,
        "organisation_form": OrganisationForm(initial={"name": organisation.name}),
        "roles": Role.choices,
        "link": link,
        "invited": invited,
        "renewed": renewed,
    }
    return render(request, "accounts/people.html", context)
