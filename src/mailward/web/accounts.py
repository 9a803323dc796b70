"""How allauth behaves here: nobody signs up by themselves, and a forgotten password needs a mail relay."""

import ipaddress
import logging
from datetime import timedelta
from typing import ClassVar
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpRequest

from mailward.net.mailer import MailerError
from mailward.notify import deliver
from mailward.store.models import User

_log = logging.getLogger(__name__)


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Accounts are made by invitation only."""

    error_messages: ClassVar[dict[str, str]] = DefaultAccountAdapter.error_messages | {
        "email_password_mismatch": "The mail address or the password is not right.",
        "too_many_login_attempts": "Too many attempts failed. Try again in a few minutes.",
    }

    def is_open_for_signup(self, _request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """By what guesses are counted; allauth takes the /64 of an IPv6 address, which one guest has whole. A mapped
        one is of IPv4: all of these have one /64. Of a link's own address, its interface is no part.
        """
        found = ipaddress.ip_address(super().get_client_ip(request).partition("%")[0])
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return str(mapped or found)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link goes to the console's public address, whatever Host the request named."""
        path = urlsplit(super().get_reset_password_from_key_url(key)).path
        return f"{settings.MAILWARD.console_url}{path}"

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, str]) -> None:
        """Through our own mailer. What went wrong is told to the log alone: a page that said it would tell
        who has an account."""
        days = timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT).days
        try:
            # not asyncio.run: what it awaits of the store must come back to this thread
            async_to_sync(deliver.send_password_link)(
                settings.MAILWARD, email, context["password_reset_url"], days=days
            )
        except MailerError as error:
            _log.warning("password-mail-not-sent", extra={"user": user.pk, "detail": error.detail})
