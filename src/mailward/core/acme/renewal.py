"""When a certificate is renewed: when its CA suggests it (RFC 9773), else when two thirds of its life are over."""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509

# RFC 9773 §4.3: clients clamp what the CA says about when to ask again
ASK_AGAIN = timedelta(hours=6)
SHORTEST_ASK_AGAIN = timedelta(minutes=1)
LONGEST_ASK_AGAIN = timedelta(days=1)


class Why(StrEnum):
    """Why a certificate is renewed when it is."""

    SUGGESTED = "suggested"
    """The CA named the time."""
    LIFETIME = "lifetime"
    """Two thirds of its life are over."""


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """RFC 9773 section 4.2."""

    start: datetime
    end: datetime
    explanation_url: str = ""

    @property
    def is_usable(self) -> bool:
        # RFC 9773 §4.2: a window that ends before it starts is to be ignored
        return self.end > self.start


@dataclass(frozen=True, slots=True)
class Renewal:
    at: datetime
    why: Why
    explanation_url: str = ""


def plan_renewal(
    not_before: datetime, not_after: datetime, info: RenewalInfo | None, chance: float
) -> Renewal:
    """`chance`, between 0 and 1, spreads certificates over the time that is right for them; the same certificate
    keeps its own, so that asking again does not move its renewal.
    """
    if info is not None and info.is_usable:
        # RFC 9773 §4.2: a uniformly random time in the window
        return Renewal(info.start + (info.end - info.start) * chance, Why.SUGGESTED, info.explanation_url)
    life = not_after - not_before
    # the last tenth of the second third: thousands made in one hour are not all renewed in one
    return Renewal(not_before + life * (0.60 + chance / 15), Why.LIFETIME)


def ask_again(not_before: datetime, not_after: datetime, wanted: timedelta | None) -> timedelta:
    """How long until renewal information is asked for again: as the CA `wanted`, within bounds, and at least twenty
    times in the life of a short certificate.
    """
    clamped = min(wanted or ASK_AGAIN, LONGEST_ASK_AGAIN, (not_after - not_before) / 20)
    return max(SHORTEST_ASK_AGAIN, clamped)


def renewal_id(certificate: x509.Certificate) -> str:
    """How a CA is asked about this certificate (RFC 9773 section 4.1). Raises ValueError where it has no authority key
    identifier.
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound as error:
        raise ValueError("the certificate has no authority key identifier") from error
    if extension.value.key_identifier is None:
        raise ValueError("the certificate has no authority key identifier")
    serial = certificate.serial_number
    # the content octets of a DER INTEGER: a leading zero where the first bit is set
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")
    return f"{_encode(extension.value.key_identifier)}.{_encode(octets)}"


def _encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")
