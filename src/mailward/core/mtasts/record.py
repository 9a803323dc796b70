"""The TXT record at `_mta-sts.<domain>` (RFC 8461 section 3.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mailward.core.txt import (
    Faults,
    NoRecord,
    RecordError,
    RecordInvalid,
    SeveralRecords,
    parse_extension,
    pick_record,
    split_fields,
)

__all__ = [
    "NoRecord",
    "Record",
    "RecordError",
    "RecordInvalid",
    "SeveralRecords",
    "parse_record",
    "serialise_record",
]

SECTION = "RFC 8461 section 3.1"
VERSION = b"v=STSv1"
_POLICY_ID = re.compile(r"[A-Za-z0-9]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Record:
    policy_id: str
    """1 to 32 letters and digits; a sender fetches the policy again when it changes."""
    extensions: tuple[tuple[str, str], ...] = ()
    """Fields that the RFC does not know, as they came; senders ignore them."""


def parse_record(txts: Sequence[bytes]) -> Record:
    """The record among all TXT records of the name; each is its character-strings joined without spaces.

    Raises NoRecord, SeveralRecords or RecordInvalid, the last with all that is wrong. A sender acts alike on
    all three: no policy is available.
    """
    # erratum 6285 (reported): the ABNF lets white space precede the first ";", the text does not. The text
    # decides which records count at all, so it is followed.
    fields = split_fields(pick_record(txts, VERSION, SECTION), SECTION)
    faults = Faults()
    has_id = False
    policy_id = ""
    extensions: dict[str, str] = {}
    for field in fields:
        # RFC 8461 §3.2: the first of duplicated fields wins, here as in the policy
        if field.startswith("id=") and not has_id:
            has_id = True
            policy_id = faults.attempt(partial(_parse_id, field)) or ""
        elif (other := faults.attempt(partial(parse_extension, field, SECTION))) and other[0] != "id":
            extensions.setdefault(*other)
    if not has_id:
        faults.add(RecordInvalid("id-missing", "id", "the record has no id field (lower case)", SECTION))
    faults.raise_first()
    return Record(policy_id, tuple(extensions.items()))


def serialise_record(record: Record) -> str:
    """The TXT content, in the form of the RFC's example. Raises RecordInvalid for values that senders
    refuse.
    """
    fields = [("id", record.policy_id), *record.extensions]
    text = "v=STSv1; " + "".join(f"{name}={value}; " for name, value in fields).rstrip()
    if not text.isascii() or parse_record([text.encode("ascii")]) != record:
        raise RecordInvalid("not-representable", None, "the record's values cannot be written down", SECTION)
    return text


def _parse_id(field: str) -> str:
    value = field.removeprefix("id=")
    if not _POLICY_ID.fullmatch(value):
        raise RecordInvalid(
            "id-syntax",
            "id",
            f"the id {value[:40]!r} is not 1 to 32 letters and digits (no hyphen, dot or space)",
            SECTION,
        )
    return value
