"""The TXT record at `_smtp._tls.<domain>` (RFC 8460 section 3): where reports about a domain go."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote_to_bytes, urlsplit

from mailward.core.names import InvalidName, parse_domain
from mailward.core.txt import (
    Faults,
    NoRecord,
    RecordError,
    RecordInvalid,
    SeveralRecords,
    parse_extension,
    pick_record,
    split_between,
    split_fields,
)

__all__ = [
    "NoRecord",
    "Record",
    "RecordError",
    "RecordInvalid",
    "SeveralRecords",
    "Target",
    "mailto_target",
    "parse_record",
    "serialise_record",
]

SECTION = "RFC 8460 section 3"
VERSION = b"v=TLSRPTv1"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
# RFC 3986 §2, without what the record reserves: "," "!" ";" must be percent-encoded
_URI = re.compile(r"(?:[A-Za-z0-9:/?#\[\]@$&'()*+=._~-]|%[0-9A-Fa-f]{2})+", re.ASCII)
# RFC 5321 §4.1.2: Dot-string or Quoted-string
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*"'
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*|{_QUOTED}", re.ASCII)
_MAX_LOCAL_PART = 64  # RFC 5321 §4.5.3.1.1
_PLAIN = re.compile(r"[A-Za-z0-9._~$&'()*+=@-]", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """One place that reports go to."""

    scheme: str
    """`mailto` or `https`."""
    uri: str
    """As written in the record."""
    address: str = ""
    """For mailto: the mail address, percent-decoded."""


@dataclass(frozen=True, slots=True)
class Record:
    targets: tuple[Target, ...]
    """At least one."""
    skipped: tuple[str, ...] = ()
    """URIs of schemes that the RFC does not know; senders pass over them."""
    extensions: tuple[tuple[str, str], ...] = ()
    """Unknown fields, as they came; senders ignore them."""


def parse_record(txts: Sequence[bytes]) -> Record:
    """The record among all TXT records of the name; each is its character-strings joined without spaces.

    Raises NoRecord, SeveralRecords or RecordInvalid, the last with all that is wrong.
    """
    fields = split_fields(pick_record(txts, VERSION, SECTION), SECTION)
    faults = Faults()
    rua: str | None = None
    extensions: dict[str, str] = {}
    for field in fields:
        if not field.startswith("rua="):
            if other := faults.attempt(partial(parse_extension, field, SECTION)):
                extensions.setdefault(*other)
        elif rua is None:  # as in RFC 8461 §3.2, the first of duplicated fields wins; RFC 8460 does not say
            rua = field.removeprefix("rua=")
    if rua is None:
        faults.add(RecordInvalid("rua-missing", "rua", "the record has no rua field (lower case)", SECTION))
    targets, skipped = ([], []) if rua is None else _read_targets(rua, faults)
    faults.raise_first()
    return Record(tuple(targets), tuple(skipped), tuple(extensions.items()))


def _read_targets(rua: str, faults: Faults) -> tuple[list[Target], list[str]]:
    """The targets, and the URIs of other schemes."""
    targets, skipped, bad = [], [], 0
    for uri in split_between(rua, ","):
        try:
            target = _parse_target(uri)
        except RecordInvalid as error:
            faults.add(error)
            bad += 1
            continue
        if target is None:
            skipped.append(uri)
        else:
            targets.append(target)
    if not targets and not bad:
        faults.add(_invalid("rua-unusable", "no rua is a mailto: or https: URI"))
    return targets, skipped


def serialise_record(record: Record) -> str:
    """The TXT content, in the form of the RFC's example. Raises RecordInvalid for values that senders
    refuse.
    """
    uris = [*(target.uri for target in record.targets), *record.skipped]
    fields = [("rua", ",".join(uris)), *record.extensions]
    text = "; ".join(["v=TLSRPTv1", *(f"{name}={value}" for name, value in fields)])
    if not text.isascii() or parse_record([text.encode("ascii")]) != record:
        raise RecordInvalid("not-representable", None, "the record's values cannot be written down", SECTION)
    return text


def mailto_target(address: str) -> Target:
    """The target for a mail address, with all that the record reserves percent-encoded. Raises
    RecordInvalid.
    """
    uri = "mailto:" + "".join(
        char if _PLAIN.fullmatch(char) else "".join(f"%{byte:02X}" for byte in char.encode())
        for char in address
    )
    target = _parse_target(uri)
    if target is None or target.address != address:
        raise _invalid("rua-address", f"{address[:80]!r} is no mail address for reports")
    return target


def _parse_target(uri: str) -> Target | None:
    """The target, or None for a scheme that the RFC does not know."""
    if not uri:
        raise _invalid("rua-empty", "rua has an empty place where a URI should be")
    if "!" in uri:
        # DMARC's size suffix, copied: mailto:a@example.com!10m
        raise _invalid(
            "rua-size-hint", f"{_excerpt(uri)} has '!': TLSRPT has no size limits; write %21 if it is meant"
        )
    if not _SCHEME.match(uri) or not _URI.fullmatch(uri):
        raise _invalid("rua-syntax", f"{_excerpt(uri)} is no URI (mailto:..., https://...)")
    scheme = uri.partition(":")[0].lower()
    if scheme == "mailto":
        return Target("mailto", uri, _mail_address(uri))
    if scheme == "https":
        _check_https(uri)
        return Target("https", uri)
    return None


def _mail_address(uri: str) -> str:
    """RFC 6068 section 2, one address only; header fields after `?` are of no use to reports and left out."""
    encoded = uri[len("mailto:") :].partition("?")[0].partition("#")[0]
    try:
        address = unquote_to_bytes(encoded).decode("ascii")
        local, _, domain = address.rpartition("@")
        parse_domain(domain, allow_single=True)
    except (UnicodeDecodeError, InvalidName) as error:
        raise _invalid("rua-address", f"{_excerpt(uri)} has no mail address: {error}") from error
    if len(local) > _MAX_LOCAL_PART or not _LOCAL_PART.fullmatch(local):
        raise _invalid("rua-address", f"{_excerpt(uri)} has no mail address")
    return address


def _check_https(uri: str) -> None:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _invalid("rua-https", f"{_excerpt(uri)} is no https URI: {error}") from error
    if not uri[len("https:") :].startswith("//") or not host or port == 0:
        raise _invalid("rua-https", f"{_excerpt(uri)} names no host")


def _invalid(code: str, message: str) -> RecordInvalid:
    return RecordInvalid(code, "rua", message, SECTION)


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
