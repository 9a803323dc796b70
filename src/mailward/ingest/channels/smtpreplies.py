"""What the mail door says: the replies of SMTP and LMTP, and which of them tells what became of a mail."""

import logging
from collections.abc import Sequence

from mailward.ingest.errors import StoreBusy, TooMuchToday

_log = logging.getLogger("mailward.ingest.smtp")

BUSY = "451 4.3.0 The report could not be stored, try again later"
NOT_OURS = "550 5.7.1 This server takes TLS reports (RFC 8460) only, and relays nothing"
UNKNOWN = "550 5.1.1 No such report address"
STORED = "250 2.0.0 Stored"
TOO_MUCH = (
    "452 4.2.2 Too much today that cannot be read, is not signed, or is of one signer, try again tomorrow"
)
NO_HELLO = "500 5.5.1 This is LMTP: send LHLO"
FAILED = "451 4.3.0 Something went wrong here, try again later"


def reply_to(outcome: object) -> str:
    """To one recipient, of whose copy that became."""
    if isinstance(outcome, StoreBusy):
        return BUSY
    if isinstance(outcome, TooMuchToday):
        return TOO_MUCH
    if isinstance(outcome, Exception):
        _log.error("smtp-failed", exc_info=outcome)
        return FAILED
    if isinstance(outcome, BaseException):
        raise outcome
    return STORED


def worst(replies: Sequence[str]) -> str:
    """What stands for all of them: the first that has not stored."""
    return next((reply for reply in replies if reply != STORED), STORED)
