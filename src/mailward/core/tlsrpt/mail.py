"""Report mails: RFC 8460 section 5.3."""

from collections.abc import Sequence
from datetime import datetime

from mailward.core.tlsrpt.limits import DEFAULT_LIMITS, Limits
from mailward.core.tlsrpt.reading import Reading
from mailward.core.tlsrpt.schema import Report


def read_mail(raw: bytes, *, now: datetime | None = None, limits: Limits = DEFAULT_LIMITS) -> Reading:
    raise NotImplementedError


def build_mail(
    report: Report,
    *,
    sender: str,
    recipient: str,
    submitter: str,
    date: datetime,
    message_id: str,
    compressed: bool = True,
    extra_headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    raise NotImplementedError
