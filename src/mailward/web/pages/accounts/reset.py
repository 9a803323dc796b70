"""A forgotten password: by mail where mail can be sent at all, or by a link from an owner."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse

from mailward.store.models import User


def needs_relay(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """404 without a relay: a page that promises a mail which never comes helps nobody."""

    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # noqa: ANN401 - passed on
        if not settings.MAILWARD.relay.host:
            raise Http404
        return view(request, *args, **kwargs)

    update_wrapper(guarded, view)
    return guarded


def password_link(user: User) -> str:
    """Where this person sets a new password: works once, for three days (Django's PASSWORD_RESET_TIMEOUT)."""
    key = {"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)}
    return f"{settings.MAILWARD.console_url}{reverse('account_reset_password_from_key', kwargs=key)}"
