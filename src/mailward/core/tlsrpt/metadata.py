"""What the header and the file name say about a report. Where they disagree with it, the report counts
(RFC 8460 section 5.6), and the disagreement is noted.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from mailward.core.tlsrpt.deviations import Notes
from mailward.core.tlsrpt.reading import MailFacts
from mailward.core.tlsrpt.schema import PolicyType, Report
from mailward.core.tlsrpt.spelling import read_domain

_MAX_HEADER = 998  # RFC 5322 §2.1.1, for a line; long enough for what is shown
_MAX_DIGITS = 18
# the usual form first: it takes half the time
_DATE = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?[0-3]?[0-9] (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} "
    r"[0-2][0-9]:[0-5][0-9]:[0-5][0-9] [+-][0-9]{4}(?: \([A-Z]{1,5}\))?|"
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\s*,)?\s*[0-3]?[0-9]\s+"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\s+(?:[0-9]{4}|[0-9]{2})\s+"
    r"[0-2][0-9]:[0-5][0-9](?::[0-6][0-9])?\s+"
    r"(?:[+-][0-9]{4}|UT|GMT|[ECMP][SD]T|[A-IK-Z])(?:\s*\([^()]*\))?\s*",
    re.ASCII,
)


def header_facts(get: Callable[[str], str | None]) -> MailFacts:
    """`get` gives a header field by its name in lower case."""
    return MailFacts(_name(get("tls-report-domain")), _name(get("tls-report-submitter")))


def judge_header(date: str | None, facts: MailFacts, reports: Sequence[Report], notes: Notes) -> None:
    if date is None or not _DATE.fullmatch(date[:_MAX_HEADER]):
        notes.add("mail-date-invalid", "header.Date", date or "")
    domain = facts.tls_report_domain
    if domain and _is_other_domain(domain, reports):
        notes.add("header-domain-mismatch", "header.TLS-Report-Domain", domain)


def judge_file_name(name: str, reports: Sequence[Report], where: str, notes: Notes) -> None:
    """RFC 8460 section 5.1; a name of another shape says nothing."""
    pieces = name[:_MAX_HEADER].split("!")
    if not 4 <= len(pieces) <= 5:
        return
    domain, begin, end = pieces[1], pieces[2], pieces[3]
    if len(pieces) == 4:
        end = end.partition(".")[0]
    # folded inside the quotes, as in the RFC's own example, it has got blanks
    begin, end = begin.strip(), end.strip()
    if not (begin.isdecimal() and end.isdecimal() and len(begin) < _MAX_DIGITS and len(end) < _MAX_DIGITS):
        return
    period = reports[0].date_range
    if (
        _differ(int(begin), period.start_datetime)
        or _differ(int(end), period.end_datetime)
        or _is_other_domain(_name(domain) or "", reports)
    ):
        notes.add("filename-mismatch", f"{where}.filename", name)


def _is_other_domain(domain: str, reports: Iterable[Report]) -> bool:
    """Whether the domain is none of those that the reports are about."""
    named = False
    for report in reports:
        for result in report.policies:
            policy = result.policy
            if policy.policy_domain == domain:
                return False
            # RFC 8460 §4.4 with RFC 7672 §2.2.3: a `tlsa` entry may name the MX host instead
            named = named or (policy.policy_domain is not None and policy.policy_type != PolicyType.TLSA)
    return named


def _differ(seconds: int, time: datetime | None) -> bool:
    """Whether they differ by more than the second between 23:59:59 and midnight."""
    return time is not None and abs(seconds - time.timestamp()) > 1


def _name(text: str | None) -> str | None:
    if not text:
        return None
    return read_domain(text[:_MAX_HEADER])[0] or None
