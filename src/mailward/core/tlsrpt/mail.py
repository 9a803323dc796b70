"""Report mails (RFC 8460 section 5.3): finding the report in one. compose has the other direction.

Parts are found by their media type; of mails without the right one, every part that could be a report is
tried. Who signed the mail is not judged here, see mailward.core.dkim.
"""

from collections.abc import Sequence
from datetime import datetime

from mailward.core.tlsrpt.compose import build_mail
from mailward.core.tlsrpt.deviations import Notes
from mailward.core.tlsrpt.documents import read_document
from mailward.core.tlsrpt.errors import PlacedRefusal, Refusal, Unreadable, say_where
from mailward.core.tlsrpt.limits import DEFAULT_LIMITS, Limits
from mailward.core.tlsrpt.metadata import header_facts, judge_file_name, judge_header
from mailward.core.tlsrpt.mime import Entity, parse_entity, walk
from mailward.core.tlsrpt.quick_mail import quick_mail
from mailward.core.tlsrpt.reading import Reading, make_reading
from mailward.core.tlsrpt.schema import Report
from mailward.core.tlsrpt.unpack import GZIP_MAGIC, Budget, unpack

__all__ = ["build_mail", "read_mail"]

JSON_TYPE = "application/tlsrpt+json"
GZIP_TYPE = "application/tlsrpt+gzip"
_TYPES = (GZIP_TYPE, JSON_TYPE)
_NAME_ENDS = (".json", ".gz", ".zip")
NO_REPORT = ("not-json", "no-report")
"""Codes of what was not meant as a report, where nothing says that it was."""
NOTHING = ("no-report", "the mail has no part that is a TLS report")


def read_mail(raw: bytes, *, now: datetime | None = None, limits: Limits = DEFAULT_LIMITS) -> Reading:
    """The reports in a mail. Raises Unreadable, and nothing else whatever the bytes."""
    return quick_mail(raw, now, limits) or read_thoroughly(raw, now=now, limits=limits)


def read_thoroughly(raw: bytes, *, now: datetime | None = None, limits: Limits = DEFAULT_LIMITS) -> Reading:
    """As read_mail, whatever the shape of the mail."""
    return MailReader(now, limits, Budget.of(limits)).read(raw)


class MailReader:
    """One mail. Reports are inflated against one budget, whatever the number of parts.

    `first`: the number of its first report, where the mail is one of several in an archive.
    """

    def __init__(
        self, now: datetime | None, limits: Limits, budget: Budget, first: int | None = None
    ) -> None:
        self._now = now
        self._limits = limits
        self._budget = budget
        self._first = first
        self._notes = Notes()
        self._unread: Refusal | None = None

    def read(self, raw: bytes) -> Reading:
        if len(raw) > 2 * self._limits.max_inflated_bytes:
            raise Unreadable("too-large", f"the mail has {len(raw)} bytes")
        if raw.startswith(b"From "):  # the separator line of an mbox file
            raw = raw.partition(b"\n")[2]
        mail = parse_entity(raw, self._limits)
        leaves = list(walk(mail, self._notes, self._limits))
        reports = self._read_leaves(leaves)
        facts = header_facts(mail.get)
        self._judge_form(mail, leaves)
        judge_header(mail.get("date"), facts, reports, self._notes)
        return make_reading(reports, self._notes, facts, self._unread)

    def _read_leaves(self, leaves: Sequence[Entity]) -> tuple[Report, ...]:
        """RFC 8460 §5.3: extract the parts of the prescribed type and ignore the rest."""
        places = [at for at, leaf in enumerate(leaves) if leaf.content_type.value in _TYPES]
        failure: PlacedRefusal | None = None
        if places:
            reports, failure = self._read_places(leaves, places)
            if reports:
                self._unread = say_where(failure)
                return reports
        others = [at for at, leaf in enumerate(leaves) if at not in places and _could_be_report(leaf)]
        reports, other_failure = self._read_places(leaves, others)
        failure = failure or other_failure
        if reports:
            self._unread = say_where(failure)
            return reports
        raise Unreadable(*(failure[1] if failure else NOTHING))

    def _read_places(
        self, leaves: Sequence[Entity], places: Sequence[int]
    ) -> tuple[tuple[Report, ...], PlacedRefusal | None]:
        """What can be read of these parts, and the first reason why one that was meant as a report could not."""
        reports: list[Report] = []
        failure: PlacedRefusal | None = None
        readable = 0
        for at in places:
            notes = Notes()
            where = f"part[{at}]"
            first = self._first
            if first is not None or len(places) > 1:
                first = (first or 0) + len(reports)
            try:
                found = self._read_leaf(leaves[at], where, notes, first)
            except Unreadable as error:
                is_typed = leaves[at].content_type.value in _TYPES
                if is_typed or error.code not in NO_REPORT:
                    failure = failure or (where, (error.code, error.detail))
                if is_typed:
                    self._notes.add(error.code, where, error.detail)
                continue
            self._notes.extend(notes)
            reports.extend(found)
            readable += 1
        if readable > 1:
            self._notes.add("several-reports-in-mail", "body", f"{readable} parts")
        return tuple(reports), failure

    def _read_leaf(self, leaf: Entity, where: str, notes: Notes, first: int | None) -> tuple[Report, ...]:
        content = leaf.decode(notes, where)
        kind, name = leaf.content_type.value, leaf.file_name
        reports: list[Report] = []
        for document in unpack(content, self._budget, notes, self._limits, name=name, where=where):
            number = first if first is None else first + len(reports)
            try:
                reports += read_document(document.content, notes, self._limits, now=self._now, first=number)
            except Unreadable as error:
                raise blame(error, document.damage) from None
            if document.damage:
                notes.add(document.damage, document.where)
        if not reports:
            raise Unreadable("no-report", "the part is empty")
        if kind not in _TYPES:
            place = f"{where}.Content-Type"
            notes.add("wrong-content-type" if kind else "missing-content-type", place, kind)
        elif (kind == GZIP_TYPE) != content.startswith(GZIP_MAGIC):
            notes.add("content-type-mismatch", f"{where}.Content-Type", kind)
        judge_file_name(name, reports, where, notes)
        return tuple(reports)

    def _judge_form(self, mail: Entity, leaves: Sequence[Entity]) -> None:
        kind = mail.content_type
        report_type = kind.parameter("report-type").lower()
        if kind.value != "multipart/report" or report_type != "tlsrpt":
            self._notes.add("not-multipart-report", "header.Content-Type", kind.value)
        elif leaves[0].content_type.value == "text/html":
            self._notes.add("html-first-part", "part[0].Content-Type", "text/html")


def blame(error: Unreadable, damage: str) -> Unreadable:
    """A document that is cut off because its container is."""
    if damage and error.code in ("json-truncated", "not-json"):
        return Unreadable(damage, f"the compressed data is damaged; of what is left: {error.detail}")
    return error


def _could_be_report(leaf: Entity) -> bool:
    kind = leaf.content_type.value
    return (
        not kind
        or kind.startswith("application/")
        or (kind in ("text/json", "text/plain") and leaf.body.lstrip()[:1] in (b"{", b"["))
        or leaf.file_name.lower().endswith(_NAME_ENDS)
    )
