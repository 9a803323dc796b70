"""Where a domain wants its reports, read as kindly as a sender may: what is plainly meant counts, and is noted.

The strict reader (`record`) tells the owner of a record what is wrong with it; a sender who turned away for it would
only hide failures from somebody who asked for them.

    read_destinations("v=TLSRPTv1; rua=mailto:tls@a.example!10m, MAILTO:tls@a.example")
    # one destination, tls@a.example up to 10 MiB; notes: rua-size-hint, rua-duplicate
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from mailward.core.tlsrpt.record import RecordError, Target, mailto_target, parse_record

MAX_RECORD = 8192
"""Characters that are looked at; a TXT record of this size is nobody's honest work."""
MAX_DESTINATIONS = 10
"""So many get a report; who names more wants others to be flooded."""
_MAX_NOTES = 50

_VERSION = re.compile(r"\s*v\s*=\s*TLSRPTv1\s*(?:;|$)", re.IGNORECASE)
_RUA = re.compile(r"\s*rua\s*=(.*)", re.IGNORECASE | re.DOTALL)
_BETWEEN = re.compile(r"[\s,]+")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_SIZE = re.compile(r"(.*)!([0-9]{1,12})([kmgt]?)", re.IGNORECASE | re.DOTALL)
_BARE_ADDRESS = re.compile(r"[^\s@:/]+@[^\s@:/]+")
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}  # RFC 7489 §6.2
_RESERVED = str.maketrans({"!": "%21", ",": "%2C", ";": "%3B"})  # RFC 8460 §3


@dataclass(frozen=True, slots=True)
class Destination:
    rua: str
    """The URI in one spelling: what is the same place is the same text."""
    address: str = ""
    """For mailto: the mail address. Empty for https."""
    max_bytes: int = 0
    """The largest mail that it takes, by a size hint; 0: not said."""

    @property
    def is_mail(self) -> bool:
        return bool(self.address)


@dataclass(frozen=True, slots=True)
class Note:
    slug: str
    value: str = ""
    """What stood there, shortened: a stranger's text."""


@dataclass(frozen=True, slots=True)
class Destinations:
    found: tuple[Destination, ...] = ()
    notes: tuple[Note, ...] = ()
    """What contradicts RFC 8460 section 3, and was read or passed over all the same."""


def read_destinations(record: str) -> Destinations:
    """Never raises: a record that nothing can be made of has no destinations, and says why in its notes."""
    return _Reader().read(record)


class _Reader:
    def __init__(self) -> None:
        self._found: dict[str, Destination] = {}
        self._notes: list[Note] = []

    def read(self, record: str) -> Destinations:
        if len(record) > MAX_RECORD:
            self._note("record-too-long")
            record = record[:MAX_RECORD]
        version = _VERSION.match(record)
        if version is None:
            self._note("no-version", record)
            return Destinations((), tuple(self._notes))
        if not record.startswith("v=TLSRPTv1;"):
            self._note("version-spelling", version[0])
        values = list(self._values(record[version.end() :]))
        if not values:
            self._note("rua-missing")
        if len(values) > 1:
            self._note("rua-repeated")
        for value in values:
            self._read_value(value)
        return Destinations(tuple(self._found.values()), tuple(self._notes))

    def _values(self, fields: str) -> Iterator[str]:
        for field in fields.split(";"):
            if named := _RUA.fullmatch(field):
                if not field.lstrip().startswith("rua="):
                    self._note("rua-spelling", field)
                yield named[1]

    def _read_value(self, value: str) -> None:
        for text in _BETWEEN.split(value.strip()):
            uri = text.strip("\"'<>")
            if not uri:
                self._note("rua-empty")
            elif len(self._found) >= MAX_DESTINATIONS:
                self._note("rua-too-many")
                return
            else:
                self._read_uri(uri)

    def _read_uri(self, uri: str) -> None:
        named = _SCHEME.fullmatch(uri)
        scheme = named[1].lower() if named else ""
        if named and scheme == "mailto":
            self._add_mail(named[2], uri)
        elif named and scheme == "https":
            self._add_web(uri)
        elif not named and _BARE_ADDRESS.fullmatch(uri):
            self._note("rua-without-scheme", uri)
            self._add_mail(uri, uri)
        else:
            # http: a report is for nobody on the way
            self._note("rua-scheme", uri)

    def _add_mail(self, text: str, uri: str) -> None:
        max_bytes = 0
        if sized := _SIZE.fullmatch(text):
            # DMARC's hint (RFC 7489 §6.2), which TLSRPT does not have: the wish is plain
            text, max_bytes = sized[1], int(sized[2]) * _UNITS[sized[3].lower()]
            self._note("rua-size-hint", uri)
        if text.startswith("//"):
            self._note("rua-slashes", uri)
            text = text[2:]
        encoded = text.partition("?")[0].partition("#")[0]
        try:
            local, _, domain = unquote_to_bytes(encoded).decode("ascii").strip(" <>").rpartition("@")
            target = mailto_target(f"{local}@{domain.lower().rstrip('.')}")
        except (UnicodeError, RecordError):
            self._note("rua-address", uri)
            return
        self._keep(Destination(target.uri, target.address, max_bytes), uri)

    def _add_web(self, uri: str) -> None:
        if sized := _SIZE.fullmatch(uri):
            uri = sized[1]
            self._note("rua-size-hint", sized[0])
        if not uri.isascii() or uri != uri.translate(_RESERVED):
            self._note("rua-encoding", uri)
        try:
            [target] = parse_record([b"v=TLSRPTv1; rua=" + uri.translate(_RESERVED).encode("ascii")]).targets
            spelled = _spell(target)
        except (UnicodeError, ValueError, RecordError):
            self._note("rua-https", uri)
            return
        self._keep(Destination(spelled), uri)

    def _keep(self, destination: Destination, uri: str) -> None:
        key = destination.address.lower() or destination.rua
        if key in self._found:
            self._note("rua-duplicate", uri)
            return
        self._found[key] = destination

    def _note(self, slug: str, value: str = "") -> None:
        if len(self._notes) < _MAX_NOTES:
            self._notes.append(Note(slug, value if len(value) <= 80 else value[:79] + "…"))


def _spell(target: Target) -> str:
    """Scheme and host in lower case (RFC 3986 section 6.2.2.1), without a fragment. Raises ValueError."""
    parts = urlsplit(target.uri)
    if parts.username is not None or not parts.hostname:
        raise ValueError("no host, or a user name")
    authority = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.port not in (None, 443):
        authority += f":{parts.port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"https://{authority}{parts.path or '/'}{query}"
