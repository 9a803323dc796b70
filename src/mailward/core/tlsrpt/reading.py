"""What reading gives: reports, what is odd about them, and what the mail around them said."""

from collections.abc import Sequence

import msgspec

from mailward.core.tlsrpt.deviations import DEVIATIONS, Deviation, Level, Notes
from mailward.core.tlsrpt.errors import Refusal
from mailward.core.tlsrpt.schema import Report

_FIRST = "reports[0]."


# structs, since one of each is made for every mail: a dataclass takes four times as long
class MailFacts(msgspec.Struct, frozen=True, gc=False):
    """What the mail says of itself. None of it is proved, and the report wins (RFC 8460 section 5.6)."""

    tls_report_domain: str | None
    tls_report_submitter: str | None


class Reading(msgspec.Struct, frozen=True, gc=False):
    reports: tuple[Report, ...]
    """At least one."""
    deviations: tuple[Deviation, ...]
    """In the order found. Strict reading: the report conforms when check_strict has nothing to say."""
    mail: MailFacts | None = None
    unread: Refusal | None = None
    """Why something beside the reports could not be read that could be one: the first, with its place."""


def make_reading(
    reports: Sequence[Report], notes: Notes, mail: MailFacts | None = None, unread: Refusal | None = None
) -> Reading:
    deviations = notes.all()
    if len(reports) == 1:  # there could have been more of them, and there are not
        deviations = tuple(
            msgspec.structs.replace(each, where=each.where[len(_FIRST) :])
            if each.where.startswith(_FIRST)
            else each
            for each in deviations
        )
    return Reading(tuple(reports), deviations, mail, unread)


def check_strict(reading: Reading) -> tuple[Deviation, ...]:
    """What contradicts the RFCs; empty for a conforming report."""
    return tuple(each for each in reading.deviations if DEVIATIONS[each.slug].level is not Level.NOTICE)
