"""Mailward's own settings for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from django.conf import settings
from django.test import override_settings

from mailward.config import Certificates, Dns, Nameserver, PolicyHost, Relay, Watch
from mailward.core.acme.settings import Acme


@contextmanager
def with_settings(
    **tables: Relay | Dns | Certificates | Nameserver | Acme | Watch | PolicyHost,
) -> Iterator[None]:
    with override_settings(MAILWARD=msgspec.structs.replace(settings.MAILWARD, **tables)):
        yield
