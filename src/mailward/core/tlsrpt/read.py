"""Reading a file of any kind: JSON, gzip, zip, base64 or a mail, told apart by content."""

import re
from datetime import datetime

from mailward.core.tlsrpt.deviations import Notes
from mailward.core.tlsrpt.documents import read_document
from mailward.core.tlsrpt.errors import PlacedRefusal, Unreadable, say_where
from mailward.core.tlsrpt.limits import DEFAULT_LIMITS, Limits
from mailward.core.tlsrpt.mail import NO_REPORT, MailReader, blame, read_mail
from mailward.core.tlsrpt.reading import MailFacts, Reading, check_strict, make_reading
from mailward.core.tlsrpt.schema import Report
from mailward.core.tlsrpt.unpack import WHOLE, ZIP_MAGICS, Budget, unpack

__all__ = ["Limits", "MailFacts", "Reading", "check_strict", "read_bytes"]

_FIELD = re.compile(rb"(?:From [^\n]*\n)?[A-Za-z][A-Za-z0-9_.-]{0,79}:")
_UTF8_BOM = b"\xef\xbb\xbf"


def read_bytes(
    data: bytes, *, name: str = "", now: datetime | None = None, limits: Limits = DEFAULT_LIMITS
) -> Reading:
    """The reports in a file. `name` is its name, `now` the time of receipt (to tell periods in the future).

    Raises Unreadable, and nothing else whatever the bytes.
    """
    if len(data) > 2 * limits.max_inflated_bytes:
        raise Unreadable("too-large", f"the file has {len(data)} bytes")
    if looks_like_mail(data):
        return read_mail(data, now=now, limits=limits)
    return _FileReader(now, limits).read(data, name)


def looks_like_mail(data: bytes) -> bool:
    """Whether it begins with a header field: a word and a colon, which neither JSON nor base64 does."""
    return _FIELD.match(data.removeprefix(_UTF8_BOM).lstrip(b"\r\n")[:8192]) is not None


class _FileReader:
    def __init__(self, now: datetime | None, limits: Limits) -> None:
        self._now = now
        self._limits = limits
        self._budget = Budget.of(limits)
        self._notes = Notes()
        self._reports: list[Report] = []
        self._mail: MailFacts | None = None
        self._unread: PlacedRefusal | None = None

    def read(self, data: bytes, name: str) -> Reading:
        failures: list[PlacedRefusal] = []
        several = data.startswith(ZIP_MAGICS)
        for document in unpack(data, self._budget, self._notes, self._limits, name=name):
            first = len(self._reports) if several else None
            try:
                self._read_content(document.content, document.where, first)
            except Unreadable as error:
                refused = blame(error, document.damage)
                failures.append((document.where, (refused.code, refused.detail)))
                del refused
                continue
            if document.damage:
                self._notes.add(document.damage, document.where or WHOLE)
            if len(self._reports) > self._limits.max_reports:
                raise Unreadable("too-many", f"the file holds more than {self._limits.max_reports} reports")
        if not self._reports:
            raise Unreadable(*failures[0][1]) if failures else Unreadable("no-report", "the archive is empty")
        for where, (code, detail) in failures:
            self._notes.add(code, where or WHOLE, detail)
        meant = [failure for failure in failures if failure[1][0] not in NO_REPORT]
        unread = say_where(meant[0] if meant else self._unread)
        return make_reading(self._reports, self._notes, self._mail, unread)

    def _read_content(self, content: bytes, where: str, first: int | None) -> None:
        if looks_like_mail(content):  # a mail in an archive
            reading = MailReader(self._now, self._limits, self._budget, first).read(content)
            self._reports += reading.reports
            self._mail = self._mail or reading.mail
            if reading.unread is not None:
                self._unread = self._unread or (where or WHOLE, reading.unread)
            for each in reading.deviations:
                self._notes.add(each.slug, each.where, each.value)
        else:
            self._reports += read_document(content, self._notes, self._limits, now=self._now, first=first)
