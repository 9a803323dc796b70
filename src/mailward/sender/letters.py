"""A delivery as a mail (RFC 8460 section 5.3), signed by our keys, in the size that its receiver takes."""

import zlib
from collections.abc import Sequence
from datetime import datetime
from email.utils import parseaddr

import msgspec

from mailward.config import Settings
from mailward.core.dkim import sign
from mailward.core.names import InvalidName, parse_domain
from mailward.core.tlsrpt.compose import build_mail, gzip_report
from mailward.core.tlsrpt.daily import MAX_DETAILS, Reporter, cut_details, day_range
from mailward.core.tlsrpt.errors import Unwritable
from mailward.core.tlsrpt.schema import Report
from mailward.core.tlsrpt.write import serialise_report
from mailward.sender.dkimkeys import SigningName
from mailward.sender.reportrows import Content, Delivery

REPEAT_FIELD = "X-Mailward-Repeat"
REPEAT_TEXT = "possible: we were cut off before; the Report-ID is the same"
_GZIP = 16 + zlib.MAX_WBITS


class ContactUnusable(Exception):
    """`tlsrpt.contact` is not the mail address of anybody; the text says why."""

    code = "contact"


def make_reporter(settings: Settings) -> Reporter:
    """Who reports, by the settings. Raises ContactUnusable."""
    contact = settings.tlsrpt.contact
    local, _, domain = contact.rpartition("@")
    try:
        name = parse_domain(domain, allow_single=True)
    except InvalidName as error:
        raise ContactUnusable(f"tlsrpt.contact: {error}") from error
    if not local or parseaddr(contact)[1] != contact:
        raise ContactUnusable(f"tlsrpt.contact: {contact!r} is no mail address")
    return Reporter(settings.tlsrpt.organization or name, f"{local}@{name}")


class Letters:
    def __init__(self, settings: Settings, reporter: Reporter, keys: Sequence[SigningName]) -> None:
        self._reporter = reporter
        self._keys = tuple(keys)
        self._return_path = settings.tlsrpt.envelope_sender or reporter.contact

    def envelope_sender(self, delivery: Delivery) -> str:
        return self._return_path.replace("*", delivery.token)

    def write(self, delivery: Delivery, content: Content, now: datetime) -> bytes:
        """The whole mail. Raises Unwritable for what cannot become one, or not one as small as its receiver wants."""
        raw = self._compose(delivery, content, content.gzipped, content.cut, now)
        if not delivery.max_bytes or len(raw) <= delivery.max_bytes:
            return raw
        report = read_content(content)
        at_most = MAX_DETAILS
        while at_most:
            at_most //= 4
            smaller, cut = cut_details(report, at_most)
            gzipped = gzip_report(serialise_report(smaller))
            raw = self._compose(delivery, content, gzipped, content.cut + cut, now)
            if len(raw) <= delivery.max_bytes:
                return raw
        raise Unwritable(
            "rua", f"takes no more than {delivery.max_bytes} bytes, and the mail has {len(raw)} at least"
        )

    def _compose(
        self, delivery: Delivery, content: Content, gzipped: bytes, cut: int, now: datetime
    ) -> bytes:
        submitter = self._reporter.submitter
        # RFC 8689: delivered whatever becomes of TLS (RFC 8460 §5.3.1); RFC 3834: no answers from robots
        extra = [("TLS-Required", "No"), ("Auto-Submitted", "auto-generated")]
        if delivery.is_repeat:
            extra.append((REPEAT_FIELD, REPEAT_TEXT))
        raw = build_mail(
            Report(
                organization_name=self._reporter.organization_name,
                date_range=day_range(delivery.day),
                contact_info=self._reporter.contact,
                report_id=content.report_id,
            ),
            sender=self._reporter.contact,
            recipient=delivery.address,
            submitter=submitter,
            date=now,
            message_id=f"<{delivery.token}@{submitter}>",
            extra_headers=extra,
            domain=delivery.domain,
            content=gzipped,
            remarks=_remarks(cut, delivery.part),
        )
        for selector, key in self._keys:
            raw = sign(raw, submitter, selector, key, now=now)
        return raw


def read_content(content: Content) -> Report:
    return msgspec.json.decode(zlib.decompress(content.gzipped, _GZIP), type=Report)


def _remarks(cut: int, part: int) -> list[str]:
    remarks = []
    if part:
        remarks += [
            "",
            "This is a supplement: what it has was counted after the report of that day was made,",
            "and is in no other report.",
        ]
    if cut:
        remarks += [
            "",
            f"There were too many different failures: the details of {cut} failed sessions",
            "are put together by result type. The totals count all of them.",
        ]
    return remarks
