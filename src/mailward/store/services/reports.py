"""Reports into the store: a batch of arrivals in one short transaction.

The same canonical content for the same domain is one report, whatever the door; a more trusted copy takes
the place of a less trusted one. Statements are written by hand and run for many rows at once: with one
object a row this would be what limits how fast reports come in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import DataError, IntegrityError, connection, transaction

from mailward.net import clock
from mailward.store.ids import new_ids
from mailward.store.models import Report, Trust
from mailward.store.services import outbox
from mailward.store.services.booked import booked_shares
from mailward.store.services.counting import DailyCounts, is_countable
from mailward.store.services.incoming import (
    COUNTED_TRUST,
    TRUST_RANK,
    Incoming,
    Judgement,
    ReportDigest,
    ShareDigest,
    Stored,
    clean,
)
from mailward.store.services.whose import is_open, is_own, mx_of, say_detail

KEPT_RECEIPTS = 20
"""Later copies that are kept one by one; all are counted."""
FIRST_VERIFICATION = timedelta(minutes=1)
_KEYS_A_QUERY = 1_000
_COUNTED = frozenset(
    trust.value for trust in COUNTED_TRUST
)  # plain texts: an enum's hash takes five times as long

Value = str | int | bytes | date | datetime | None
Row = tuple[Value, ...]
Key = tuple[int, int, bytes]
"""Organisation, domain (0: foreign), content hash: what makes a report one."""


@dataclass(slots=True)
class _Known:
    """A report that the store has, or will have at the end of the batch."""

    id: int
    trust: str
    counted: bool
    reporter: str
    day: date
    copies: int
    content: "Row" = ()
    """The values of _CONTENT_COLUMNS, for a new row."""
    copy: "Row" = ()
    """The values of _COPY_COLUMNS, where they are to be written."""
    share: ShareDigest | None = None
    """What this batch has counted it as."""
    new: bool = False


def store_batch(items: Sequence[Incoming]) -> list[Stored]:
    """Store all, durably once this returns; what each became, in order.

    One transaction. If the database refuses it for what an item holds, each is tried alone, so that one harms
    no other. Raises django.db.OperationalError when the database is busy or full: then nothing is stored.
    """
    if not items:
        return []
    try:
        with transaction.atomic():
            return _Batch(items).store()
    except (IntegrityError, DataError):
        return [_store_alone(item) for item in items]


def _store_alone(item: Incoming) -> Stored:
    try:
        with transaction.atomic():
            return _Batch([item]).store()[0]
    except (IntegrityError, DataError) as error:
        return Stored(refused=f"the database refused it: {error}")


class _Batch:
    def __init__(self, items: Sequence[Incoming]) -> None:
        self._items = items
        self._known: dict[Key, _Known] = {}
        self._mx: dict[int, frozenset[str]] = {}
        self._counts = DailyCounts()
        self._raws: list[Row] = []
        self._receipts: list[Row] = []
        self._copies: dict[int, int] = {}
        self._quarantined: list[Row] = []
        self._pending: list[int] = []
        self._times: dict[datetime, Value] = {}
        self._days: dict[date, Value] = {}
        self._ops = connection.ops  # looked up for each value otherwise
        # at most the raw bytes and one row for each share; ids that stay unused harm nobody
        most = sum(1 + sum(len(report.shares) for report in item.reports) for item in items)
        self._ids = iter(new_ids(most + len(items)))

    def store(self) -> list[Stored]:
        self._find_known()
        self._find_mx()
        stored = [self._take(item) for item in self._items]
        self._write()
        return stored

    def _find_known(self) -> None:
        # sorted, and so are the answers: two batches that know the same reports lock them in the same order
        keys = sorted(
            {
                (item.organisation_id, share.domain_id or 0, report.content_hash)
                for item in self._items
                for report in item.reports
                for share in report.shares
            }
        )
        find = _FIND + _LOCK if connection.features.has_select_for_no_key_update else _FIND
        with connection.cursor() as cursor:
            for start in range(0, len(keys), _KEYS_A_QUERY):
                chunk = keys[start : start + _KEYS_A_QUERY]
                marks = ", ".join(["(%s, %s, %s)"] * len(chunk))
                cursor.execute(find.format(keys=marks), [part for key in chunk for part in key])
                for organisation, domain_key, content_hash, *rest in cursor.fetchall():
                    id_, trust, counted, reporter, day, copies = rest
                    day = date.fromisoformat(day) if isinstance(day, str) else day
                    self._known[(organisation, domain_key, bytes(content_hash))] = _Known(
                        id_, trust, bool(counted), reporter, day, copies
                    )

    def _find_mx(self) -> None:
        asked = {
            share.domain_id
            for item in self._items
            for report in item.reports
            for share in report.shares
            if share.domain_id is not None and share.hosts_in_doubt and is_open(item.judgement, share)
        }
        if asked:
            self._mx = mx_of(asked)

    def _is_doubtful(self, item: Incoming, share: ShareDigest) -> bool:
        """Whether it could be a report about another domain, sent on."""
        return bool(share.hosts_in_doubt) and is_open(item.judgement, share) and not is_own(share, self._mx)

    def _counts_as(self, item: Incoming, share: ShareDigest, day: date) -> bool:
        return (
            item.judgement.trust in _COUNTED
            and share.domain_id is not None
            and is_countable(day, item.received_at)
            and not self._is_doubtful(item, share)
        )

    def _take(self, item: Incoming) -> Stored:
        raw_id = quarantine_id = None
        if item.unreadable is not None:
            raw_id = self._keep_raw(item)
            quarantine_id = self._quarantine(item, raw_id, *item.unreadable)
        new, copies, ids = 0, 0, []
        for report in item.reports:
            for share in report.shares:
                key = (item.organisation_id, share.domain_id or 0, report.content_hash)
                known = self._known.get(key)
                if known is None:
                    raw_id = raw_id or self._keep_raw(item)
                    known = self._known[key] = self._add(item, report, share, raw_id)
                    new += 1
                else:
                    copies += 1
                    self._copies[known.id] = self._copies.get(known.id, 0) + 1
                    if self._is_better(item, report, share, known):
                        raw_id = raw_id or self._keep_raw(item)
                        self._upgrade(known, item, report, share, raw_id)
                    else:
                        self._receive(known.id, known.copies, item, item.judgement)
                    known.copies += 1
                ids.append(known.id)
        return Stored(new, copies, tuple(ids), quarantine_id)

    def _time(self, moment: datetime | None) -> Value:
        if moment is None:
            return None
        if moment not in self._times:
            self._times[moment] = self._ops.adapt_datetimefield_value(moment)
        return self._times[moment]

    def _day(self, day: date) -> Value:
        if day not in self._days:
            self._days[day] = self._ops.adapt_datefield_value(day)
        return self._days[day]

    def _keep_raw(self, item: Incoming) -> int:
        raw_id = next(self._ids)
        self._raws.append(
            (
                raw_id,
                item.organisation_id,
                item.door.value,  # a plain text: sqlite3 looks for an adapter of everything else
                clean(item.name, 255),
                item.content,
                self._time(item.received_at),
            )
        )
        return raw_id

    def _quarantine(self, item: Incoming, raw_id: int, code: str, detail: str) -> int:
        quarantine_id = next(self._ids)
        self._quarantined.append(
            (
                quarantine_id,
                item.organisation_id,
                item.address_domain_id,
                raw_id,
                item.imported_by,
                clean(code, 40),
                clean(detail, 500),
                self._time(item.received_at),
                item.from_relay,
            )
        )
        return quarantine_id

    def _add(self, item: Incoming, report: ReportDigest, share: ShareDigest, raw_id: int) -> _Known:
        day = report.day or item.received_at.date()
        known = _Known(next(self._ids), Trust.TEST, False, "", day, copies=1, new=True)
        known.content = (
            known.id,
            item.organisation_id,
            share.domain_id,
            share.domain_id or 0,
            report.content_hash,
            report.organization_name,
            report.report_id,
            self._day(day),
            self._time(report.start),
            self._time(report.end),
            report.policy_domains,
            1,
        )
        self._set_copy(known, item, report, share, raw_id)
        return known

    def _upgrade(
        self, known: _Known, item: Incoming, report: ReportDigest, share: ShareDigest, raw_id: int
    ) -> None:
        """Let a more trusted copy take the place of the one that we have."""
        self._receive(known.id, known.copies, item, item.judgement)
        if known.counted:
            # not this copy's share: address and TLS-Report-Domain decide whose a `tlsa` entry is
            for booked in _booked(known):
                self._counts.add(item.organisation_id, booked, known.day, known.reporter, sign=-1)
        self._set_copy(known, item, report, share, raw_id)

    def _set_copy(
        self, known: _Known, item: Incoming, report: ReportDigest, share: ShareDigest, raw_id: int
    ) -> None:
        """What depends on the copy rather than on the content."""
        judgement = item.judgement
        known.trust = judgement.trust.value
        known.reporter = clean(judgement.signer.lower(), 253) or report.claimed_reporter
        known.counted = self._counts_as(item, share, known.day)
        known.copy = (
            item.address_domain_id,
            raw_id,
            known.trust,
            clean(judgement.dkim, 12),
            say_detail(judgement.detail, doubtful=self._is_doubtful(item, share)),
            clean(judgement.signer, 253),
            known.counted,
            item.imported_by,
            item.door.value,
            known.reporter,
            report.parsed,
            report.deviations,
            clean(item.tls_report_domain, 253),
            self._time(item.received_at),
            share.ok,
            share.failed,
        )
        known.share = share
        if known.counted:
            self._counts.add(item.organisation_id, share, known.day, known.reporter)
        if judgement.trust == Trust.PENDING:
            self._pending.append(known.id)

    def _receive(self, report_id: int, copies: int, item: Incoming, judgement: Judgement) -> None:
        if copies <= KEPT_RECEIPTS:
            self._receipts.append(
                (
                    report_id,
                    item.organisation_id,
                    item.door.value,
                    str(judgement.trust),
                    clean(judgement.detail, 500),
                    self._time(item.received_at),
                )
            )

    def _is_better(self, item: Incoming, report: ReportDigest, share: ShareDigest, known: _Known) -> bool:
        if share.hosts_in_doubt and item.judgement.trust in _COUNTED and known.trust in _COUNTED:
            # one that could be another's takes the place of none that counts, and makes room for one that does
            counts = self._counts_as(item, share, known.day)
            if counts != known.counted:
                return counts
        return _is_better(item.judgement, report, known)

    def _write(self) -> None:
        touched = [known for _, known in sorted(self._known.items(), key=lambda each: each[0]) if known.copy]
        with connection.cursor() as cursor:
            statements: tuple[tuple[str, list[Row]], ...] = (
                (_ADD_RAW, self._raws),
                (_ADD_REPORT, [known.content + known.copy for known in touched if known.new]),
                (_CHANGE_REPORT, [(*known.copy, known.id) for known in touched if not known.new]),
                (_ADD_RECEIPT, self._receipts),
                (_ADD_COPIES, [(number, id_) for id_, number in sorted(self._copies.items())]),
                (_ADD_QUARANTINED, self._quarantined),
                (_TEST_ARRIVED, self._tests()),
            )
            for statement, rows in statements:
                if rows:
                    cursor.executemany(statement, rows)
        self._counts.write()
        put_work(self._counts, self._pending)

    def _tests(self) -> list[Row]:
        return [
            (self._time(item.received_at), item.test_domain_id, item.organisation_id)
            for item in self._items
            if item.test_domain_id is not None
        ]


def _is_better(judgement: Judgement, report: ReportDigest, known: _Known) -> bool:
    """Whether this copy takes the place of the one that we have: it is the more trusted one, or as trusted and
    signed by whom the report names as its contact, which the other is not.
    """
    rank, known_rank = TRUST_RANK[judgement.trust], TRUST_RANK[known.trust]
    if rank != known_rank or not judgement.signer:
        return rank > known_rank
    contact = report.contact_domain
    return _speaks_for(judgement.signer.lower(), contact) and not _speaks_for(known.reporter, contact)


def _speaks_for(signer: str, contact: str) -> bool:
    return bool(contact) and (contact == signer or contact.endswith("." + signer))


def _booked(known: _Known) -> tuple[ShareDigest, ...]:
    if known.share is not None:
        return (known.share,)
    return booked_shares(Report.objects.select_related("domain", "address_domain").get(pk=known.id))


def put_work(counts: DailyCounts, pending: Sequence[int]) -> None:
    """Ask for what follows from changed counts and from reports that wait for DNS."""
    later = clock.now() + FIRST_VERIFICATION
    work = [outbox.Item("assess", str(domain_id)) for domain_id in counts.domain_ids]
    work += [outbox.Item("verify", str(report_id), None, later) for report_id in pending]
    if work:
        outbox.put_many(work)


_COPY_COLUMNS = (
    "address_domain_id",
    "raw_id",
    "trust",
    "dkim",
    "dkim_detail",
    "signer",
    "counted",
    "imported_by_id",
    "door",
    "reporter",
    "parsed",
    "deviations",
    "tls_report_domain",
    "received_at",
    "ok",
    "failed",
)
_CONTENT_COLUMNS = (
    "id",
    "organisation_id",
    "domain_id",
    "domain_key",
    "content_hash",
    "organization_name",
    "report_id",
    "day",
    "start",
    "end",
    "policy_domains",
    "copies",
)


_REPORT_COLUMNS = _CONTENT_COLUMNS + _COPY_COLUMNS
_NAMES = ", ".join(f'"{name}"' for name in _REPORT_COLUMNS)  # "end" is a word of SQL
_MARKS = ", ".join(["%s"] * len(_REPORT_COLUMNS))

# A join, since SQLite answers a row value IN (VALUES ...) by reading the whole table.
_FIND = """
WITH wanted (organisation_id, domain_key, content_hash) AS (VALUES {keys})
SELECT report.organisation_id, report.domain_key, report.content_hash, report.id, report.trust,
report.counted,
    report.reporter, report.day, report.copies
FROM wanted JOIN store_report AS report ON report.organisation_id = wanted.organisation_id
    AND report.domain_key = wanted.domain_key AND report.content_hash = wanted.content_hash
"""
# PostgreSQL alone: else two writers would both find a report uncounted, and both count it. It gives the rows as they
# are once they are locked. SQLite has one writer at a time.
_LOCK = """
ORDER BY wanted.organisation_id, wanted.domain_key, wanted.content_hash
FOR NO KEY UPDATE OF report
"""
_ADD_REPORT = f"INSERT INTO store_report ({_NAMES}) VALUES ({_MARKS})"  # noqa: S608
_CHANGES = ", ".join(f"{name} = %s" for name in _COPY_COLUMNS)
_CHANGE_REPORT = f"UPDATE store_report SET {_CHANGES} WHERE id = %s"  # noqa: S608
_ADD_RAW = """
INSERT INTO store_rawmessage (id, organisation_id, door, name, content, received_at)
VALUES (%s, %s, %s, %s, %s, %s)
"""
_ADD_RECEIPT = """
INSERT INTO store_receipt (report_id, organisation_id, door, trust, detail, received_at)
VALUES (%s, %s, %s, %s, %s, %s)
"""
_ADD_COPIES = "UPDATE store_report SET copies = copies + %s WHERE id = %s"
_ADD_QUARANTINED = """
INSERT INTO store_quarantinedmessage
    (id, organisation_id, address_domain_id, raw_id, imported_by_id, reason, detail, received_at, from_relay)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_TEST_ARRIVED = "UPDATE store_domain SET test_report_arrived_at = %s WHERE id = %s AND organisation_id = %s"
