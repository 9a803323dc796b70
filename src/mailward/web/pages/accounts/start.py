"""Coming in by a one-time link: the first administrator, and invited people."""

from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from mailward.store.models import Invitation, User
from mailward.store.services import accounts
from mailward.store.services.accounts import AccountError
from mailward.web.middleware import ORGANISATION
from mailward.web.pages.accounts.forms import FirstAdministratorForm, NewcomerForm

_BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@never_cache
@sensitive_post_parameters("password")
def start(request: HttpRequest, token: str) -> HttpResponse:
    """The first administrator says who they are, and is signed in."""
    invitation = accounts.find_invitation(token)
    if invitation is None or invitation.email:
        return _spent(request)
    form = FirstAdministratorForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = accounts.start_organisation(token, form.newcomer(), form.cleaned_data["organisation_name"])
        except AccountError as error:
            form.add_error(None, str(error))
        else:
            login(request, user, backend=_BACKEND)
            messages.success(request, "Welcome. Add your first domain to begin.")
            return redirect("domain-list")
    return render(request, "accounts/start.html", {"form": form})


@never_cache
@sensitive_post_parameters("password")
def join(request: HttpRequest, token: str) -> HttpResponse:
    """An invited person comes in, with a new account or the one they are signed in with."""
    invitation = accounts.find_invitation(token)
    if invitation is None or not invitation.email:
        return _spent(request)
    if User.objects.filter(email=invitation.email).exists():
        return _join_signed_in(request, invitation, token)
    form = NewcomerForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = accounts.accept_invitation(token, form.newcomer())
        except AccountError as error:
            form.add_error(None, str(error))
        else:
            login(request, user, backend=_BACKEND)
            return _welcome(request, invitation)
    return render(request, "accounts/join.html", {"form": form, "invitation": invitation})


def _join_signed_in(request: HttpRequest, invitation: Invitation, token: str) -> HttpResponse:
    is_them = isinstance(request.user, User) and request.user.email == invitation.email
    if request.method == "POST" and is_them and isinstance(request.user, User):
        try:
            accounts.join_signed_in(token, request.user)
        except AccountError as error:
            messages.error(request, str(error))
            return redirect("home")
        return _welcome(request, invitation)
    return render(request, "accounts/join_signed_in.html", {"invitation": invitation, "is_them": is_them})


def _welcome(request: HttpRequest, invitation: Invitation) -> HttpResponse:
    request.session[ORGANISATION] = invitation.organisation_id
    messages.success(request, f"Welcome to {invitation.organisation.name}.")
    return redirect("domain-list")


def _spent(request: HttpRequest) -> HttpResponse:
    """Unknown, used and too old look the same: nobody learns which links ever existed."""
    return render(request, "accounts/spent.html", status=404)
