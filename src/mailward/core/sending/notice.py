"""What the operator is told, and in which words: mail that waits because of policy, refreshes that fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from mailward.core.names import Domain

MAX_LISTED = 20  # causes in one message; the others are counted
RELEASE_DAYS = 7

_HOUR = 3600
_DAY = 86_400


class Kind(StrEnum):
    DEFERRED = "mail-deferred"
    REFRESH = "refresh-failing"


@dataclass(frozen=True, slots=True)
class Cause:
    kind: Kind
    domain: Domain
    row: str
    """Of the decision table; empty for refreshes."""
    reason: str
    """What Postfix or the fetch said."""
    decided: str = ""
    """Why it was decided so."""
    messages: int = 0
    oldest_seconds: int = 0
    lifetime_seconds: int | None = None
    """Postfix's maximal_queue_lifetime; for refreshes, until the policy ends."""

    @property
    def key(self) -> str:
        """What is told once."""
        return f"{self.kind} {self.domain} {self.row}"


def make_override(cause: Cause, today: date) -> str:
    """The entry of the overrides file that would release the mail, until a date."""
    reason = "".join(char for char in cause.reason if char.isprintable() and char not in '"\\')[:200]
    return "\n".join(
        [
            "[[override]]",
            f'domain = "{cause.domain}"',
            'action = "relax"',
            f'reason = "{reason or "why"}"',
            f"until = {today + timedelta(days=RELEASE_DAYS)}",
        ]
    )


def subject(causes: Sequence[Cause]) -> str:
    deferred = [cause for cause in causes if cause.kind is Kind.DEFERRED]
    if not deferred:
        return f"Mailward: the policy of {_named(causes)} cannot be refreshed"
    return f"Mailward: mail to {_named(deferred)} waits because of policy"


def body(causes: Sequence[Cause], today: date, overrides_file: str) -> str:
    place = overrides_file or "the overrides file ([sender] overrides)"
    parts = [_paragraph(cause, today, place) for cause in causes[:MAX_LISTED]]
    if len(causes) > MAX_LISTED:
        parts.append(f"And {len(causes) - MAX_LISTED} more: mailward sender list --failing, postqueue -p")
    return "\n\n".join(parts) + "\n"


def _paragraph(cause: Cause, today: date, place: str) -> str:
    if cause.kind is Kind.REFRESH:
        left = show_duration(cause.lifetime_seconds or 0)
        return (
            f"{cause.domain}: its policy cannot be fetched anew, and ends in {left}. Until then it holds;\n"
            f"afterwards mail to it is not protected.\n  Cause: {cause.reason}\n"
            f"  See: mailward sender explain {cause.domain}"
        )
    known = cause.lifetime_seconds is not None
    limit = f"; after {show_duration(cause.lifetime_seconds or 0)} it is given back" if known else ""
    entry = make_override(cause, today).replace("\n", "\n    ")
    many = "1 message waits" if cause.messages == 1 else f"{cause.messages} messages wait"
    return (
        f"{cause.domain}: {many}, the oldest for {show_duration(cause.oldest_seconds)}{limit}.\n"
        f"  Cause: {cause.reason}\n  Decided: {cause.row}: {cause.decided}\n"
        f"  See: mailward sender explain {cause.domain}\n"
        f"  To deliver without protection for {RELEASE_DAYS} days, put into {place}:\n    {entry}"
    )


def show_duration(seconds: int) -> str:
    if seconds >= 2 * _DAY:
        return f"{seconds // _DAY} days"
    if seconds >= 2 * _HOUR:
        return f"{seconds // _HOUR} hours"
    return f"{max(seconds, 0) // 60} minutes"


def _named(causes: Sequence[Cause]) -> str:
    first = causes[0].domain
    return first if len(causes) == 1 else f"{first} and {len(causes) - 1} more"
