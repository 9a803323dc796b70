"""What reading gives: reports, what is odd about them, and what the mail around them said."""

from dataclasses import dataclass, replace

from mailward.core.tlsrpt.deviations import DEVIATIONS, Deviation, Level
from mailward.core.tlsrpt.schema import Report


@dataclass(frozen=True, slots=True)
class MailFacts:
    """What the mail says of itself. None of it is proved, and the report wins (RFC 8460 section 5.6)."""

    tls_report_domain: str | None
    tls_report_submitter: str | None
    from_domain: str | None
    """Domain of the one address in From, lower case; None when there is no such one."""
    subject: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Reading:
    reports: tuple[Report, ...]
    """At least one."""
    deviations: tuple[Deviation, ...]
    """In the order found. Strict reading: the report conforms when check_strict has nothing to say."""
    mail: MailFacts | None = None

    def with_mail(self, mail: MailFacts, deviations: tuple[Deviation, ...]) -> "Reading":
        return replace(self, mail=mail, deviations=deviations)


def check_strict(reading: Reading) -> tuple[Deviation, ...]:
    """What contradicts the RFCs; empty for a conforming report."""
    return tuple(each for each in reading.deviations if DEVIATIONS[each.slug].level is not Level.NOTICE)
