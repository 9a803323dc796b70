"""A report as a mail (RFC 8460 sections 5.1 to 5.3): unsigned, CRLF, ASCII only."""

import base64
import functools
import re
import zlib
from collections.abc import Sequence
from datetime import datetime
from email.utils import format_datetime
from hashlib import sha256

from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.core.tlsrpt.errors import Unwritable
from mailward.core.tlsrpt.schema import PolicyType, Report
from mailward.core.tlsrpt.unpack import GZIP_WRAPPER
from mailward.core.tlsrpt.write import serialise_report

_MAX_LINE = 78  # RFC 5322 §2.1.1
_MAX_FIELD = 990
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII)
_MESSAGE_ID = re.compile(r"<[^\s<>@]+@[^\s<>@]+>", re.ASCII)
_FIELD_NAME = re.compile(r"[!-9;-~]{1,60}", re.ASCII)
_NOT_ATOM = re.compile(r"[^A-Za-z0-9._+-]+", re.ASCII)
_UNIQUE = re.compile(r"[^A-Za-z0-9]+", re.ASCII)


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
    domain: str = "",
    content: bytes = b"",
    remarks: Sequence[str] = (),
) -> bytes:
    """The mail, ready to be signed. `submitter` is the domain of contact-info; `message_id` has its brackets.

    `domain`: whom the report is about, where its policies need not be looked at. `content`: the report as it was
    written before; then `report` needs no policies. `remarks`: lines for the people who open the mail.

    Raises Unwritable where a value is missing or could break out of its header field.
    """
    domain = _domain(domain, "domain") if domain else _policy_domain(report)
    submitting = _submitter(report, submitter)
    _check(_ADDRESS, sender, "sender")
    _check(_ADDRESS, recipient, "recipient")
    _check(_MESSAGE_ID, message_id, "message_id")
    if not content:
        json = serialise_report(report)
        content = gzip_report(json) if compressed else json
    boundary = "tlsrpt-" + sha256(content + message_id.encode()).hexdigest()[:32]
    headers = [
        ("From", sender),
        ("To", recipient),
        ("Subject", _subject(report, domain, submitting)),
        ("Date", format_datetime(date)),
        ("Message-ID", message_id),
        ("TLS-Report-Domain", domain),
        ("TLS-Report-Submitter", submitting),
        ("MIME-Version", "1.0"),
        ("Content-Type", f'multipart/report; report-type="tlsrpt"; boundary="{boundary}"'),
        *extra_headers,
    ]
    name = file_name(report, domain, submitting, compressed=compressed)
    lines = [
        *(write_field(name, value) for name, value in headers),
        "",
        f"--{boundary}",
        'Content-Type: text/plain; charset="us-ascii"',
        "Content-Transfer-Encoding: 7bit",
        "",
        f"This is an aggregate TLS report about {domain}",
        f"from {submitting}.",
        *(_remark(line) for line in remarks),
        "",
        f"--{boundary}",
        f"Content-Type: application/tlsrpt+{'gzip' if compressed else 'json'}",
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment;\r\n filename="{name}"',
        "",
        base64.encodebytes(content).decode("ascii").rstrip("\n").replace("\n", "\r\n"),
        f"--{boundary}--",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")


def file_name(report: Report, domain: str, submitter: str, *, compressed: bool = True) -> str:
    """RFC 8460 section 5.1. The id keeps several reports of one day apart."""
    start, end = report.date_range.start_datetime, report.date_range.end_datetime
    if start is None or end is None:
        raise Unwritable("date-range", "the file name needs a start and an end")
    begin, until = int(start.timestamp()), int(end.timestamp())
    if begin < 0 or until < 0:
        raise Unwritable("date-range", "it lies before 1970")
    unique = _UNIQUE.sub("", report.report_id or "")[-16:]
    stem = "!".join([submitter, domain, str(begin), str(until), *([unique] if unique else [])])
    return stem + (".json.gz" if compressed else ".json")


def write_field(name: str, value: str) -> str:
    """One header field, folded at its blanks. Raises Unwritable for what could start another field."""
    if not _FIELD_NAME.fullmatch(name):
        raise Unwritable(name[:60], "it is no name of a header field")
    if not _is_plain(value) or len(value) > _MAX_FIELD:
        raise Unwritable(name, "only printable ASCII of moderate length goes into a header field")
    if len(name) + 2 + len(value) <= _MAX_LINE:
        return f"{name}: {value}"
    lines = [f"{name}:"]
    for word in value.split(" "):
        if len(lines[-1]) + 1 + len(word) > _MAX_LINE and lines[-1].strip() not in ("", f"{name}:"):
            lines.append("")
        lines[-1] += " " + word
    return "\r\n".join(lines)


def _policy_domain(report: Report) -> Domain:
    """The domain that the mail is about: of an entry that names it, rather than of one that names an MX."""
    named = [result.policy for result in report.policies if result.policy.policy_domain]
    named.sort(key=lambda policy: policy.policy_type == PolicyType.TLSA)
    if not named:
        raise Unwritable("policies", "no policy domain is named")
    return _domain(named[0].policy_domain or "", "policy-domain")


def _submitter(report: Report, submitter: str) -> Domain:
    # RFC 8460 §5.3: TLS-Report-Submitter MUST match the domain of contact-info
    domain = _domain(submitter, "submitter")
    of_contact = (report.contact_info or "").rpartition("@")[2]
    if of_contact != domain and _domain(of_contact, "contact-info") != domain:
        raise Unwritable("contact-info", f"its domain is not the submitter's, {domain}")
    return domain


def _subject(report: Report, domain: str, submitter: str) -> str:
    report_id = _NOT_ATOM.sub(".", report.report_id or "").strip(".")
    if not report_id:
        raise Unwritable("report-id", "the subject needs one")
    # an id is a made-up text, the subject wants <left@right>: the right side is the submitter's
    return f"Report Domain: {domain} Submitter: {submitter} Report-ID: <{report_id[:128]}@{submitter}>"


def _is_plain(text: str) -> bool:
    """Nothing but blanks and visible ASCII."""
    return text.isascii() and text.isprintable()


@functools.lru_cache(maxsize=256)  # the submitter of every report is the same
def _domain(text: str, field: str) -> Domain:
    try:
        return parse_domain(text, allow_single=True)
    except InvalidName as error:
        raise Unwritable(field, str(error)) from error


def _check(pattern: re.Pattern[str], text: str, field: str) -> None:
    if not pattern.fullmatch(text):
        raise Unwritable(field, f"{text[:60]!r} is not usable")


def _remark(line: str) -> str:
    if not _is_plain(line) or len(line) > _MAX_FIELD or line.startswith("--"):
        raise Unwritable("remarks", "only lines of printable ASCII go into the part for people")
    return line


def gzip_report(data: bytes) -> bytes:
    """RFC 8460 section 5.2. The same bytes for the same report: the gzip header has no time and no name."""
    deflater = zlib.compressobj(level=6, wbits=GZIP_WRAPPER)
    return deflater.compress(data) + deflater.flush()
