"""One record among the TXT records of a name, the way RFC 8461 section 3.1 and RFC 8460 section 3 share it.

Both: records that do not begin with the version are discarded, exactly one must remain, and it is fields
`name=value` between semicolons. What the fields mean is the business of `core.mtasts.record` and
`core.tlsrpt.record`.
"""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

MAX_FAULTS = 20
MAX_TXT_BYTES = 65_535  # RDLENGTH has 16 bits: more never came out of DNS

_BLANKS = " \t"
_EXTENSION = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,31})=(?P<value>[\x21-\x3a\x3c\x3e-\x7e]+)", re.ASCII
)


class RecordError(Exception):
    """No usable record. `code` is stable; the text is one sentence for people."""

    code = "record"

    def __init__(self, message: str, section: str) -> None:
        super().__init__(message)
        self.section = section


class NoRecord(RecordError):
    """None of the TXT records begins with the version: senders see no record at all."""

    code = "no-record"


class SeveralRecords(RecordError):
    """More than one begins with the version: senders ignore all of them."""

    code = "several-records"

    def __init__(self, count: int, message: str, section: str) -> None:
        super().__init__(message, section)
        self.count = count


class RecordInvalid(RecordError):
    """The one record is not what the grammar allows; `field` is the field concerned."""

    def __init__(self, code: str, field: str | None, message: str, section: str) -> None:
        super().__init__(message, section)
        self.code = code
        self.field = field
        self.others: tuple[RecordInvalid, ...] = ()
        """What else is wrong with the record, in its order."""

    def __str__(self) -> str:
        told = [super().__str__(), *map(str, self.others[:2])]
        more = len(self.others) - 2
        return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


class Faults:
    """Collects what is wrong with one record, so that its owner mends it once.

    The first is raised; a bounded number of others goes with it.
    """

    def __init__(self) -> None:
        self._found: list[RecordInvalid] = []

    def attempt(self, parse: Callable[[], T]) -> T | None:
        """What `parse` returns; None when it raises RecordInvalid, which is kept."""
        try:
            return parse()
        except RecordInvalid as error:
            self.add(error)
            return None

    def add(self, error: RecordInvalid) -> None:
        if len(self._found) < MAX_FAULTS:
            self._found.append(error)

    def raise_first(self) -> None:
        if self._found:
            first, *others = self._found
            first.others = tuple(others)
            raise first


def pick_record(txts: Sequence[bytes], version: bytes, section: str) -> str:
    """The one record that begins with `version` and a semicolon, as text. Raises RecordError.

    Counted before syntax is looked at: a second, broken record hides a good one (RFC 8461 §3.1).
    """
    start = version + b";"
    ours = [txt for txt in txts if txt.startswith(start)]
    name = version.decode()
    if not ours:
        raise NoRecord(_why_none(txts, version), section)
    if len(ours) > 1:
        raise SeveralRecords(
            len(ours), f"{len(ours)} records begin with {name}; and senders then ignore all of them", section
        )
    if len(ours[0]) > MAX_TXT_BYTES:
        raise RecordInvalid("too-large", None, f"the record is larger than {MAX_TXT_BYTES} bytes", section)
    try:
        return ours[0].decode("ascii")
    except UnicodeDecodeError as error:
        raise RecordInvalid(
            "not-ascii", None, f"byte {error.start + 1} of the record is not US-ASCII", section
        ) from error


def split_between(text: str, delimiter: str) -> list[str]:
    """What is between the delimiters and the white space around each. The ends of the text keep theirs.

    In linear time: a pattern such as `[ \t]*;[ \t]*` takes seconds for 64 KiB of blanks, which is a record's size.
    """
    first, *rest = text.split(delimiter)
    if not rest:
        return [first]
    *middle, last = rest
    return [first.rstrip(_BLANKS), *(part.strip(_BLANKS) for part in middle), last.lstrip(_BLANKS)]


def split_fields(record: str, section: str) -> list[str]:
    """The fields after the version, with their white space gone. Raises RecordInvalid when there is none."""
    fields = split_between(record, ";")[1:]
    if fields and not fields[-1]:
        fields.pop()  # the one optional delimiter at the end
    if not fields:
        raise RecordInvalid("no-fields", None, "the record has a version and nothing else", section)
    return fields


def parse_extension(field: str, section: str) -> tuple[str, str]:
    """Name and value of a field by the grammar that every unknown field must follow. Raises RecordInvalid."""
    if not field:
        raise RecordInvalid("empty-field", None, "two semicolons have nothing between them", section)
    match = _EXTENSION.fullmatch(field)
    if match is None:
        name = field.partition("=")[0].strip()[:32]
        raise RecordInvalid(
            "field-syntax",
            name or None,
            f"{_excerpt(field)} is no field: it must be name=value, without spaces, '=' or ';' in the value",
            section,
        )
    return match["name"], match["value"]


def _why_none(txts: Sequence[bytes], version: bytes) -> str:
    name = version.decode()
    for txt in txts:
        text = txt[:200].lower().lstrip(b" \t\"'\\")
        if text.startswith(version.lower()):
            seen = _excerpt(txt.decode("ascii", "replace"))
            return (
                f"{seen} does not begin with {name}; exactly (case, spaces, quotes and the semicolon count)"
            )
        if re.search(rb"(?:^|;)\s*" + re.escape(version.lower()), text):
            return f"{name} must come first in the record"
    return f"no record begins with {name};"


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
