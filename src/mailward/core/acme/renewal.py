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
_SHORTEST_REST = timedelta(hours=1)
_LONGEST_REST_SUGGESTED = timedelta(hours=6)
_LAST_DAYS = timedelta(days=7)


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


@dataclass(frozen=True, slots=True)
class Life:
    """Of a certificate."""

    not_before: datetime
    not_after: datetime
    had_at: datetime
    """When we got it, by our clock."""

    def rest(self, why: Why) -> timedelta:
        """So long it is left alone at least, whatever its dates and its CA say: a clock that is wrong on either side
        would otherwise have it renewed again and again. A CA that will revoke it tomorrow is heard.
        """
        rest = (self.not_after - self.not_before) / 20
        return min(rest, _LONGEST_REST_SUGGESTED) if why is Why.SUGGESTED else max(rest, _SHORTEST_REST)

    @property
    def latest(self) -> datetime:
        """What a CA suggests beyond it would let the certificate end before it is renewed."""
        return self.not_after - (self.not_after - self.not_before) / 20


def plan_renewal(life: Life, info: RenewalInfo | None, chance: float) -> Renewal:
    """`chance`, between 0 and 1, spreads certificates over the time that is right for them; the same certificate
    keeps its own, so that asking again does not move its renewal.
    """
    if info is not None and info.is_usable:
        # RFC 9773 §4.2: a uniformly random time in the window
        start, end = min(info.start, life.latest), min(info.end, life.latest)
        at = start + (end - start) * chance
        return Renewal(max(at, life.had_at + life.rest(Why.SUGGESTED)), Why.SUGGESTED, info.explanation_url)
    # the last tenth of the second third: thousands made in one hour are not all renewed in one
    at = life.not_before + (life.not_after - life.not_before) * (0.60 + chance / 15)
    return Renewal(max(at, life.had_at + life.rest(Why.LIFETIME)), Why.LIFETIME)


def ask_again(not_before: datetime, not_after: datetime, wanted: timedelta | None) -> timedelta:
    """How long until renewal information is asked for again: as the CA `wanted`, within bounds, and at least twenty
    times in the life of a short certificate.
    """
    clamped = min(wanted or ASK_AGAIN, LONGEST_ASK_AGAIN, (not_after - not_before) / 20)
    return max(SHORTEST_ASK_AGAIN, clamped)


def last_days_begin(not_before: datetime, not_after: datetime) -> datetime:
    """From then on a certificate that is not renewed is urgent: a week before its end, or the last tenth of its life
    where that is shorter. Its renewal was due long before, and failed.
    """
    return not_after - min(_LAST_DAYS, (not_after - not_before) / 10)


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
