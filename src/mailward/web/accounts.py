"""How allauth behaves here: nobody signs up by themselves, and a forgotten password needs a mail relay."""

from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class Adapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Accounts are made by invitation only."""

    def is_open_for_signup(self, _request: HttpRequest) -> bool:
        return False

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link goes to the console's public address, whatever Host the request named."""
        path = urlsplit(super().get_reset_password_from_key_url(key)).path
        return f"{settings.MAILWARD.console_url}{path}"
