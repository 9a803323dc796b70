"""What senders do otherwise than the RFCs say: the closed list of slugs, each with its level and section.

The slugs are public: `mailward report show --jsonl` prints them, and they are stored beside reports.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import msgspec


class Level(StrEnum):
    RFC = "rfc"
    """Contradicts RFC 8460 or what it builds on."""
    NOTICE = "notice"
    """Allowed, or ruled by nothing, and worth showing."""
    REJECT = "reject"
    """Why nothing could be kept; as a deviation, why one piece among others could not."""


@dataclass(frozen=True, slots=True)
class DeviationInfo:
    level: Level
    text: str
    section: str


class Deviation(msgspec.Struct, frozen=True, gc=False):  # made in a quarter of a dataclass's time
    slug: str
    where: str
    """A JSON path such as `policies[0].policy.policy-domain` (with several reports under `reports[1].`), a line
    of the JSON text such as `line 3`, a MIME place such as `header.Date` or `part[2].Content-Type`, or `file`.
    """
    value: str = ""
    """What stood there, shortened. A stranger's text: escape it."""


MAX_VALUE = 80
MAX_NOTES = 1000
MAX_LEFT_OUT = 10_000
MAX_CONVERSIONS = 1_000
"""Names in other scripts that become A-labels in one file. Each may take a millisecond, and 25 MiB have room for
50,000; what lies beyond is kept as it came, with its note.
"""
ELSEWHERE = "elsewhere"
"""The place of a note that counts further notes."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class Notes:
    """Collects deviations while one file or mail is read.

    A report of a million odd values gets a thousand notes, and for each slug one more that counts the rest.
    """

    __slots__ = ("_conversions", "_found", "_left_out", "_more")

    def __init__(self) -> None:
        self._found: list[Deviation] = []
        self._more: dict[str, int] | None = None
        self._left_out: set[str] | None = None
        self._conversions = 0

    def may_convert(self) -> bool:
        """Whether one more name in another script may cost the time to make an A-label of it."""
        self._conversions += 1
        return self._conversions <= MAX_CONVERSIONS

    def add(self, slug: str, where: str, value: str = "") -> None:
        if len(self._found) >= MAX_NOTES:
            self._count(slug, 1)
            return
        if value and (len(value) > MAX_VALUE or not value.isprintable()):
            value = encodable(excerpt(value))
        self._found.append(Deviation(slug, where, value))

    def extend(self, other: "Notes") -> None:
        for each in other._found:
            self.add(each.slug, each.where, each.value)
        for slug, more in (other._more or {}).items():
            self._count(slug, more)

    def _count(self, slug: str, more: int) -> None:
        if self._more is None:
            self._more = {}
        self._more[slug] = self._more.get(slug, 0) + more

    def leave_out(self, slug: str, where: str, value: str = "") -> None:
        """A value is there and cannot be used."""
        self.add(slug, where, value)
        if self._left_out is None:
            self._left_out = set()
        if len(self._left_out) < MAX_LEFT_OUT:
            self._left_out.add(where)

    def miss(self, slug: str, where: str) -> None:
        """A value is not there; nothing to say if it was left out."""
        if not self._left_out or where not in self._left_out:
            self.add(slug, where)

    def is_left_out(self, where: str) -> bool:
        return self._left_out is not None and where in self._left_out

    def all(self) -> tuple[Deviation, ...]:
        if self._more is None:
            return tuple(self._found)
        return (
            *self._found,
            *(Deviation(slug, ELSEWHERE, f"{more} more") for slug, more in self._more.items()),
        )


def excerpt(text: str) -> str:
    """As much of a stranger's text as a deviation shows."""
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def encodable(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can escape and no encoder takes."""
    return text if text.isprintable() else _SURROGATE.sub("\ufffd", text)


def slugs_of(deviations: Iterable[Deviation]) -> list[str]:
    """Each slug once, in alphabetical order."""
    return sorted({deviation.slug for deviation in deviations})


_RFC = {
    # container
    "zip-container": ("The report came in a zip archive.", "RFC 8460 §5.2"),
    "double-gzip": ("The report is compressed twice.", "RFC 8460 §5.2"),
    "gzip-name-but-plain": ("The file name says gzip, the content is not compressed.", "RFC 8460 §5.1"),
    "bare-base64": ("The file is base64 text without a mail around it.", "RFC 8460 §5.3"),
    "trailing-data": ("Something other than white space follows the JSON document.", "RFC 8259 §2"),
    # mail
    "wrong-content-type": (
        "The report part is declared as something else than a TLS report.",
        "RFC 8460 §5.3",
    ),
    "missing-content-type": ("The report part does not declare what it is.", "RFC 8460 §5.3"),
    "content-type-mismatch": (
        "The declared type and the content disagree on whether the report is compressed.",
        "RFC 8460 §5.3",
    ),
    "not-multipart-report": ("The mail is not a multipart/report of type tlsrpt.", "RFC 8460 §5.3"),
    "several-reports-in-mail": ("One mail carries several report parts.", "RFC 8460 §5.3"),
    # text and JSON
    "bom": ("A byte order mark precedes the JSON.", "RFC 8259 §8.1"),
    "utf16": ("The JSON is UTF-16, not UTF-8.", "RFC 8259 §8.1"),
    "not-utf8": ("The JSON is not UTF-8; read as windows-1252.", "RFC 8259 §8.1"),
    "raw-control-chars": ("A string holds control characters that are not escaped.", "RFC 8259 §7"),
    "lone-surrogate": ("A string holds half a character; replaced by U+FFFD.", "RFC 7493 §2.1"),
    "duplicate-keys": ("An object has the same key twice; the last one counts.", "RFC 7493 §2.3"),
    "array-top": ("An array of reports stands where one report should be.", "RFC 8460 §4.4"),
    "wrong-type": ("The value is of another kind than the field takes; left out.", "RFC 8460 §4.4"),
    # what is missing
    "missing-organization-name": ("No organisation is named.", "RFC 8460 §4.4"),
    "missing-date-range": ("A start or an end of the period is not there.", "RFC 8460 §4.4"),
    "missing-contact-info": ("No contact address is given.", "RFC 8460 §4.4"),
    "missing-report-id": ("The report has no id.", "RFC 8460 §4.4"),
    "missing-policies": ("The report has no list of policies.", "RFC 8460 §4.4"),
    "empty-policies": ("The list of policies is empty.", "RFC 8460 §4"),
    "missing-policy-type": ("A policy does not say of which type it is.", "RFC 8460 §4.4"),
    "missing-policy-domain": ("A policy does not say whose it is.", "RFC 8460 §4.4"),
    "missing-summary": ("A policy comes without counts: both are unknown.", "RFC 8460 §4.4"),
    "missing-success-count": ("Successful sessions are not counted: unknown, not 0.", "RFC 8460 §4.4"),
    "missing-failure-count": ("Failed sessions are not counted: unknown, not 0.", "RFC 8460 §4.4"),
    "missing-result-type": ("A failure does not say what failed.", "RFC 8460 §4.4"),
    "missing-failed-session-count": ("A failure does not say how often.", "RFC 8460 §4.4"),
    # other shapes and keys
    "failure-details-null": ("failure-details is null instead of a list or nothing.", "RFC 8460 §4.4"),
    "failure-details-object": ("failure-details is one object; read as a list of one.", "RFC 8460 §4.4"),
    "policy-string-string": ("policy-string is one text; split into its lines.", "RFC 8460 §4.4"),
    "tlsa-json-in-string": (
        "The list of TLSA records is JSON text inside one string; kept as it came.",
        "RFC 8460 §4.5",
    ),
    "mx-host-string": (
        "mx-host is one text instead of a list; read as a list of one.",
        "RFC 8460 §4.4, erratum 6241",
    ),
    "mx-host-pattern-key": ("The key mx-host-pattern stands for mx-host.", "RFC 8460 §4.4"),
    "additional-info-uri-key": (
        "The key additional-info-uri stands for additional-information.",
        "RFC 8460 §4.4",
    ),
    "additional-information-not-uri": ("additional-information is no URI.", "RFC 8460 §4.4"),
    # dates
    "date-without-timezone": ("The time names no zone; read as UTC.", "RFC 3339 §5.6"),
    "date-as-number": ("The time is a number; read as seconds since 1970.", "RFC 3339 §5.6"),
    "date-format": ("The time is not in the form of RFC 3339; read all the same.", "RFC 3339 §5.6"),
    "date-invalid": ("The time cannot be read; left out.", "RFC 3339 §5.6"),
    "range-not-one-day": ("The period is longer or shorter than a day.", "RFC 8460 §4.1"),
    # counts
    "count-as-string": ("The count is in quotes; read as a number.", "RFC 8460 §4.4"),
    "count-negative": ("The count is negative; left out.", "RFC 8460 §4.4"),
    "count-out-of-range": ("The count is too large for JSON numbers; left out.", "RFC 7493 §2.2"),
    "count-not-a-number": ("The count is NaN or infinite, which is not JSON; left out.", "RFC 8259 §6"),
    # closed sets, names, addresses
    "unknown-policy-type": ("The RFC has no such policy type; kept.", "RFC 8460 §4.4"),
    "policy-type-case": ("The policy type has capital letters; lowered.", "RFC 8460 §4.4"),
    "unknown-result-type": ("The RFC has no such result type; kept.", "RFC 8460 §4.3"),
    "result-type-case": ("The result type has capital letters; lowered.", "RFC 8460 §4.3"),
    "domain-ulabel": (
        "An internationalised name is not in its A-label form (xn--); a policy domain is converted.",
        "RFC 8460 §4.4",
    ),
    "ip-bracketed": ("The address stands in brackets or behind IPv6:; unwrapped.", "RFC 8460 §4.4"),
    "ip-empty": ("An empty text stands for an address; left out.", "RFC 8460 §4.4"),
    "ip-not-an-address": ("This is no IP address; left out.", "RFC 8460 §4.4"),
}

_NOTICE = {
    "gzip-trailing-data": ("Bytes such as padding follow the compressed data.", "RFC 1952 §2.2"),
    "gzip-multi-member": ("The compressed data has several members that make one document.", "RFC 1952 §2.2"),
    "html-first-part": ("The part for people is HTML; plain text is usual.", "RFC 8460 §5.3"),
    "header-domain-mismatch": (
        "TLS-Report-Domain names none of the report's policy domains; the report counts.",
        "RFC 8460 §5.6",
    ),
    "filename-mismatch": (
        "The file name says another domain or period than the report; the report counts.",
        "RFC 8460 §5.6",
    ),
    "mail-date-invalid": ("The Date of the mail is not written as RFC 5322 says.", "RFC 5322 §3.3"),
    "missing-closing-boundary": ("The mail ends before its last part is closed.", "RFC 2046 §5.1.1"),
    "base64-noise": ("Blanks, blank lines or other characters stand inside base64.", "RFC 2045 §6.8"),
    "control-chars": (
        "Control or direction characters stand in a name or an id; kept, shown escaped.",
        "RFC 8460 §7",
    ),
    "mx-host-prefix": ("The MX pattern begins with `mx: `, as in a policy line; kept.", "RFC 8460 §4.4"),
    "missing-mx-host": ("The MTA-STS policy comes without its MX patterns.", "RFC 8460 §4.4"),
    "missing-policy-string": (
        "The policy comes without its text, as is usual when it could not be fetched.",
        "RFC 8460 §4.4",
    ),
    "unexpected-policy-string": ("No policy was found, and yet there is its content.", "RFC 8460 §4.4"),
    "unknown-key": ("The RFC has no such key here; its value is left out.", "RFC 7493 §4.2"),
    "unsafe-uri": ("The URI is neither http nor https: to be shown, never linked.", "RFC 8460 §7"),
    "date-not-utc": ("The time has an offset; converted to UTC.", "RFC 3339 §5.6"),
    "range-inverted": ("The period ends before it starts; kept.", "RFC 8460 §4.4"),
    "range-in-future": ("The period starts after the report was received; kept.", "RFC 8460 §4.1"),
    "count-as-float": ("The count has a decimal point or an exponent; read as an integer.", "RFC 8460 §4.4"),
    "details-sum-mismatch": (
        "The counted failures do not add up to the total, which the RFC allows; both are kept.",
        "RFC 8460 §4",
    ),
    "failed-without-details": ("Failures are counted, and none is described.", "RFC 8460 §4.4"),
    "domain-case-or-dot": ("A name has capital letters or a final dot; normalised.", "RFC 8460 §4.4"),
    "ip-v4-mapped": ("An IPv4 address is written as IPv6; read as IPv4.", "RFC 4291 §2.5.5.2"),
    "ip-zone": ("An IPv6 address names a zone.", "RFC 4007 §11"),
    "missing-sending-mta-ip": (
        "The sending address is not told, as is natural when a policy could not be fetched.",
        "RFC 8460 §4.4",
    ),
    "missing-receiving-mx-hostname": (
        "The receiving MX is not told, as is natural when a policy could not be fetched.",
        "RFC 8460 §4.4",
    ),
}

_REJECT = {
    "too-large": ("It is larger than the limit.", "RFC 8460 §5.2"),
    "too-deep": ("It is nested more deeply than any report.", "RFC 8259 §9"),
    "too-many": ("It has more parts, members or reports than the limit.", "RFC 8460 §7"),
    "gzip-truncated": ("The compressed data is cut off.", "RFC 1952 §2.2"),
    "gzip-corrupt": ("The compressed data is damaged.", "RFC 1952 §2.2"),
    "zip-corrupt": ("The zip archive is damaged or packed in an unusual way.", "RFC 8460 §5.2"),
    "encrypted-zip": ("The zip archive is encrypted.", "RFC 8460 §5.2"),
    "json-truncated": ("The JSON document is cut off.", "RFC 8259 §2"),
    "not-json": ("It is no JSON document.", "RFC 8259 §2"),
    "no-report": ("It holds no TLS report.", "RFC 8460 §5.3"),
}

DEVIATIONS: Mapping[str, DeviationInfo] = MappingProxyType(
    {
        slug: DeviationInfo(level, text, section)
        for level, group in ((Level.RFC, _RFC), (Level.NOTICE, _NOTICE), (Level.REJECT, _REJECT))
        for slug, (text, section) in group.items()
    }
)
