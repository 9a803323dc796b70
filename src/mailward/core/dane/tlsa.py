"""TLSA records: which of them an SMTP client may use (RFC 7672 section 3.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_TLSA = re.compile(r"(\d{1,3}) (\d{1,3}) (\d{1,3}) ((?:[0-9A-Fa-f]{2} ?)*)", re.ASCII)
_DIGEST_BYTES = {1: 32, 2: 64}  # RFC 6698 §7.4: SHA-256, SHA-512
_MAX_TEXT = 2 * 65_535 + 1024  # RDLENGTH has 16 bits

DANE_TA = 2
DANE_EE = 3


class TlsaInvalid(ValueError):
    """The text is no TLSA record."""

    code = "tlsa"


@dataclass(frozen=True, slots=True)
class Tlsa:
    usage: int
    selector: int
    matching_type: int
    data: bytes

    @property
    def is_usable(self) -> bool:
        """Whether a client of RFC 7672 authenticates by it."""
        # RFC 7672 §3.1.3: PKIX-TA(0) and PKIX-EE(1) are unusable for SMTP
        if self.usage not in (DANE_TA, DANE_EE) or self.selector not in (0, 1):
            return False
        if self.matching_type == 0:
            return self.data[:1] == b"\x30"  # a certificate or a key in DER is a SEQUENCE
        return _DIGEST_BYTES.get(self.matching_type) == len(self.data)


def parse_tlsa(text: str) -> Tlsa:
    """A record in zone file text, `3 1 1 0123...`. Raises TlsaInvalid."""
    match = _TLSA.fullmatch(text) if len(text) <= _MAX_TEXT else None
    if match is None:
        raise TlsaInvalid(f"{text[:60]!r} is no TLSA record")
    usage, selector, matching_type = int(match[1]), int(match[2]), int(match[3])
    if max(usage, selector, matching_type) > 255:
        raise TlsaInvalid(f"{text[:60]!r} has a number above 255")
    return Tlsa(usage, selector, matching_type, bytes.fromhex(match[4]))


def count_usable(records: Sequence[str]) -> int:
    """How many of the records can be used; what is no TLSA record cannot."""
    usable = 0
    for text in records:
        try:
            usable += parse_tlsa(text).is_usable
        except TlsaInvalid:
            continue
    return usable


def owner_names(host: str, chain: Sequence[str], port: int) -> tuple[str, ...]:
    """Where a host's TLSA records may be, in the order to ask; `chain`: where its CNAMEs led, in order."""
    # RFC 7672 §2.2.3: the fully expanded name first, then the original one, never one in between
    bases = dict.fromkeys([*chain[-1:], host])
    return tuple(f"_{port}._tcp.{base}" for base in bases)
