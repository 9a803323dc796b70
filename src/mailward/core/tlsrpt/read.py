"""Reading a file of any kind: JSON, gzip, zip, base64 or a mail, told apart by content."""

from datetime import datetime

from mailward.core.tlsrpt.limits import DEFAULT_LIMITS, Limits
from mailward.core.tlsrpt.reading import MailFacts, Reading, check_strict

__all__ = ["Limits", "MailFacts", "Reading", "check_strict", "read_bytes"]


def read_bytes(
    data: bytes, *, name: str = "", now: datetime | None = None, limits: Limits = DEFAULT_LIMITS
) -> Reading:
    """The reports in a file. `name` is its name, `now` the time of receipt (to tell periods in the future).

    Raises Unreadable, and nothing else whatever the bytes.
    """
    raise NotImplementedError
