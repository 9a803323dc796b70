"""The records to publish, for people and programs that publish them by hand: zone file, CSV, plain text. Pure."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from mailward.monitor.expected import ExpectedRecord
from mailward.render.cell import neutralise

TTL_SECONDS = 3600
COLUMNS = ("domain", "record", "name", "type", "value", "state", "detail", "seen", "asked")
_STRING_OCTETS = 255  # RFC 1035 §3.3


class Form(StrEnum):
    ZONE = "zone"
    CSV = "csv"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Line:
    """One record that a domain should have, and how it stands."""

    domain: str
    record: ExpectedRecord
    state: str = ""
    """As of the last check; empty: never asked."""
    detail: str = ""
    seen: tuple[str, ...] = ()
    asked: str = ""
    """When, in ISO 8601."""

    @property
    def is_open(self) -> bool:
        return self.state != "right"


def write(form: Form, lines: Iterable[Line]) -> Iterator[str]:
    """Piece by piece: there may be many."""
    return {Form.ZONE: _write_zone, Form.CSV: _write_csv, Form.TEXT: _write_text}[form](lines)


def zone_line(record: ExpectedRecord) -> str:
    """The record in the form of RFC 1035 section 5, with names in full."""
    kind, value = record.recommended
    data = _quote(value) if kind == "TXT" else f"{value}."
    return f"{record.name}. {TTL_SECONDS} IN {kind} {data}"


def _write_zone(lines: Iterable[Line]) -> Iterator[str]:
    domain = ""
    for line in lines:
        if line.domain != domain:
            domain = line.domain
            yield f"; {domain}\n"
        yield zone_line(line.record) + "\n"


def _write_text(lines: Iterable[Line]) -> Iterator[str]:
    domain = ""
    for line in lines:
        if line.domain != domain:
            yield f"{'' if not domain else chr(10)}{line.domain}\n"
            domain = line.domain
        record = line.record
        yield f"  Name:  {record.name}\n  Type:  {record.recommended.rdtype}\n  Value: {record.recommended.value}\n"
        yield f"  Now:   {line.state or 'not asked yet'}{f' ({line.detail})' if line.detail else ''}\n"


def _write_csv(lines: Iterable[Line]) -> Iterator[str]:
    yield _csv_row(COLUMNS)
    for line in lines:
        record = line.record
        yield _csv_row((
            line.domain, record.key.value, record.name, record.recommended.rdtype, record.recommended.value,
            line.state or "unasked", line.detail, "; ".join(line.seen), line.asked,
        ))  # fmt: skip


def _csv_row(cells: Iterable[str]) -> str:
    out = io.StringIO()
    # what was seen in DNS is strangers'
    csv.writer(out, lineterminator="\r\n").writerow([neutralise(cell) for cell in cells])
    return out.getvalue()


def _quote(text: str) -> str:
    strings = (text[at : at + _STRING_OCTETS] for at in range(0, len(text), _STRING_OCTETS))
    escaped = (string.replace("\\", "\\\\").replace('"', '\\"') for string in strings)
    return " ".join(f'"{string}"' for string in escaped) or '""'
