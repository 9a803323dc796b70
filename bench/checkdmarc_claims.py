"""What checkdmarc says, in the words of our codes: so that two checkers can be compared by the same expectations.

Each sentence of its (errors and warnings) belongs to an area, and may name faults of it. A sentence that is about
something else (reverse DNS, port 465), or only tells that it could not look, has no area and counts for nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

POLICY, RECORD, COVER, MX, TLS, DANE, REPORTS = "policy", "record", "cover", "mx", "mx-tls", "dane", "reports"

_AREAS = (
    ("mx-not-in-policy", COVER),
    ("policy-pattern-", COVER),
    ("mx-addresses-differ", TLS),
    ("mx-connection-refused", TLS),
    ("starttls-", TLS),
    ("tls-", TLS),
    ("certificate-", TLS),
    ("cipher-", TLS),
    ("tlsa-", DANE),
    ("dane-", DANE),
    ("dnssec-", DANE),
    ("tlsrpt-", REPORTS),
    ("sts-record-", RECORD),
    ("sts-absent", RECORD),
    ("sts-", POLICY),
    ("policy-", POLICY),
    ("mx-", MX),
)

_STS = (
    (r"record does not exist", RECORD, "sts-absent sts-record-missing"),
    (r"Multiple MTA-STS", RECORD, "sts-record-several"),
    (r"The id value|required id tag", RECORD, "sts-record-id"),
    (r"must be located at", RECORD, "sts-record-misplaced"),
    (r"Found an SPF record", RECORD, "sts-record-missing"),
    (r"Unrelated TXT", RECORD, "sts-record-other-text"),
    (r"resolution lifetime|All nameservers failed", RECORD, "sts-record-lookup-failed"),
    (r"NameResolutionError", POLICY, "policy-host-not-in-dns"),
    (r"NewConnectionError|ConnectTimeout", POLICY, "policy-host-unreachable"),
    (r"CERTIFICATE_VERIFY_FAILED", POLICY, "sts-webpki-invalid"),
    (r"SSLError", POLICY, "policy-host-tls"),
    (r"returned HTTP 3", POLICY, "policy-redirected"),
    (r"returned HTTP 403", POLICY, "policy-forbidden"),
    (r"returned HTTP 404", POLICY, "policy-not-there"),
    (r"returned HTTP 5", POLICY, "policy-server-error"),
    (r"Content-Type", POLICY, "policy-media-type"),
    (r"max_age must be", POLICY, "policy-max-age-high sts-policy-invalid"),
    (r"Unknown key", POLICY, "policy-unknown-field"),
    (r"Duplicate", POLICY, "policy-duplicate-field"),
    (r"Line \d|Missing required|at least one mx", POLICY, "sts-policy-invalid"),
)
_MX = (
    (r"reverse DNS|port 465", "", ""),
    (r"Could not connect|HELO error|timed out|unreachable|DNS resolution failed", "", ""),
    (r"not included in the MTA-STS policy", COVER, "mx-not-in-policy"),
    (r"CNAME alias", MX, "mx-host-cname"),
    (r"points at the IP address", MX, "mx-host-address"),
    (r"does not exist|does not have any A or AAAA", MX, "mx-host-unresolvable mx-nowhere"),
    (r"has a null MX record", MX, "mx-null"),
    (r"alongside other MX|is malformed", MX, "mx-null-misused"),
    (r"not valid hostname syntax", MX, "mx-host-syntax"),
    (r"listed in multiple", MX, "mx-duplicate"),
    (r"STARTTLS is not supported", TLS, "starttls-not-supported"),
    (r"SMTP error code 454", TLS, "starttls-refused"),
    (r"has expired", TLS, "certificate-expired"),
    (r"not yet valid", TLS, "certificate-not-yet-valid"),
    (r"Hostname mismatch", TLS, "certificate-host-mismatch"),
    (r"self-signed certificate", TLS, "certificate-self-signed"),
    (r"unable to get local issuer", TLS, "certificate-not-trusted"),
    (r"key too weak", TLS, "certificate-too-weak"),
    (r"ALERT_PROTOCOL_VERSION", TLS, "tls-version"),
    (r"SSL error", TLS, "tls-handshake"),
    (r"Connection refused", TLS, "mx-connection-refused"),
)
_REPORTS = (
    (r"record does not exist", REPORTS, "tlsrpt-missing"),
    (r"Multiple", REPORTS, "tlsrpt-several"),
    (r"must be located at", REPORTS, "tlsrpt-record-misplaced"),
    (r"Expected|not a valid|required rua", REPORTS, "tlsrpt-syntax"),
)


@dataclass(frozen=True)
class Claim:
    text: str
    area: str
    codes: frozenset[str]
    """Any of these faults is named by it."""


NAMED = frozenset(code for table in (_STS, _MX, _REPORTS) for _, _, codes in table for code in codes.split())
"""Every code that a sentence may name."""


class Unknown(Exception):
    """A sentence that no line of the tables covers: read it, and decide."""


def area_of(code: str) -> str:
    return next(area for prefix, area in _AREAS if code.startswith(prefix))


def claims_of(found: dict[str, Any]) -> list[Claim]:
    """Of the parts in peer_checkdmarc.py. Raises Unknown."""
    tables = {"mta_sts": _STS, "mx": _MX, "smtp_tls_reporting": _REPORTS}
    return [_read(sentence, table) for part, table in tables.items() for sentence in _sentences(found[part])]


def _sentences(part: dict[str, Any]) -> Iterator[str]:
    if part.get("error"):
        yield part["error"]
    yield from part.get("warnings", [])


def _read(sentence: str, table: tuple[tuple[str, str, str], ...]) -> Claim:
    for pattern, area, codes in table:
        if re.search(pattern, sentence):
            return Claim(sentence, area, frozenset(codes.split()))
    raise Unknown(sentence)
