"""What the operator is told, and in which words: mail that waits because of policy, refreshes that fail, TLS reports
that nobody takes.
"""

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
    UNDELIVERED = "reports-undelivered"
    """Those to a rua fail for good, or come back."""
    SUPPRESSED = "reports-suppressed"
    """Nothing is sent to a rua any more, for some time."""


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
    """Postfix's maximal_queue_lifetime; for refreshes, until the policy ends; for a rua, until it is tried again."""
    rua: str = ""
    """Of reports: where they should go."""

    @property
    def key(self) -> str:
        """What is told once."""
        return f"{self.kind} {self.rua or f'{self.domain} {self.row}'}"


def make_override(cause: Cause, today: date) -> str:
    """The entry of the overrides file that would release the mail, until a date; empty where none would help."""
    if cause.rua:
        return ""
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
    refreshes = [cause for cause in causes if cause.kind is Kind.REFRESH]
    if deferred:
        return f"Mailward: mail to {_named(deferred)} waits because of policy"
    if refreshes:
        return f"Mailward: the policy of {_named(refreshes)} cannot be refreshed"
    return f"Mailward: TLS reports about {_named(causes)} are not delivered"


def body(causes: Sequence[Cause], today: date, overrides_file: str) -> str:
    place = overrides_file or "the overrides file ([sender] overrides)"
    parts = [_paragraph(cause, today, place) for cause in causes[:MAX_LISTED]]
    if len(causes) > MAX_LISTED:
        parts.append(f"And {len(causes) - MAX_LISTED} more: {_where_to_look(causes)}")
    return "\n\n".join(parts) + "\n"


def _where_to_look(causes: Sequence[Cause]) -> str:
    if all(cause.rua for cause in causes):
        return "mailward sender reports --state failed, mailward sender reports --suppressed"
    return "mailward sender list --failing, postqueue -p"


def _paragraph(cause: Cause, today: date, place: str) -> str:
    if cause.kind is Kind.REFRESH:
        left = show_duration(cause.lifetime_seconds or 0)
        return (
            f"{cause.domain}: its policy cannot be fetched anew, and ends in {left}. Until then it holds;\n"
            f"afterwards mail to it is not protected.\n  Cause: {cause.reason}\n"
            f"  See: mailward sender explain {cause.domain}"
        )
    if cause.rua:
        return _report_paragraph(cause)
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


def _report_paragraph(cause: Cause) -> str:
    rua, reason = _printable(cause.rua), _printable(cause.reason)
    if cause.kind is Kind.SUPPRESSED:
        left = show_duration(cause.lifetime_seconds or 0)
        return (
            f"{rua}: takes no TLS reports; nothing is sent there for {left}.\n  Cause: {reason}\n"
            f"  To send again: mailward sender reports --unsuppress '{rua}'"
        )
    return (
        f"{rua}: the last TLS report about {cause.domain} was not delivered, and is not tried again.\n"
        f"  Cause: {reason}\n  See: mailward sender reports {cause.domain}"
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:300]


def show_duration(seconds: int) -> str:
    if seconds >= 2 * _DAY:
        return f"{seconds // _DAY} days"
    if seconds >= 2 * _HOUR:
        return f"{seconds // _HOUR} hours"
    return f"{max(seconds, 0) // 60} minutes"


def _named(causes: Sequence[Cause]) -> str:
    first = causes[0].domain
    return first if len(causes) == 1 else f"{first} and {len(causes) - 1} more"
