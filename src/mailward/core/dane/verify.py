"""Whether the chain that a server presents is what its TLSA records announce (RFC 7672 section 3, RFC 7671)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mailward.core.certificate import Certificate, CertificateUnreadable, read_certificate
from mailward.core.dane.tlsa import DANE_EE, DANE_TA, Tlsa

_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}
_MAX_CHAIN = 20


class Match(StrEnum):
    MATCHES = "matches"
    UNUSABLE = "unusable"
    """No record that an SMTP client may use: it encrypts, and authenticates nobody (RFC 7672 §2.2)."""
    NO_MATCH = "no-match"
    NAME = "name"
    """A trust anchor fits, and the certificate names none of the reference names."""
    EXPIRED = "expired"
    """A trust anchor fits, and a certificate on the way to it is out of date."""


@dataclass(frozen=True, slots=True)
class Verdict:
    match: Match
    record: Tlsa | None = None
    """That fits, or fits but for the name or the date."""
    ends: datetime | None = None
    """When the first certificate on the way to a trust anchor expires. Nothing ends with DANE-EE."""

    @property
    def is_authenticated(self) -> bool:
        return self.match is Match.MATCHES


def verify(
    records: Sequence[Tlsa], chain: Sequence[Certificate], names: Sequence[str], now: datetime
) -> Verdict:
    """`chain` as presented, the server's own certificate first. `names`: the reference names for DANE-TA: the MX
    host, and where the MX records are secure the domain too (RFC 7672 section 3.2.2).
    """
    usable = strongest(records)
    if not usable:
        return Verdict(Match.UNUSABLE)
    if not chain:
        return Verdict(Match.NO_MATCH)
    best = Verdict(Match.NO_MATCH)
    for record in usable:
        if record.usage == DANE_EE and fits(record, chain[0]):
            # RFC 7672 §3.1.1: names, dates and the rest of the chain do not matter
            return Verdict(Match.MATCHES, record)
    for record in usable:
        if record.usage == DANE_TA and (path := _path_to(record, chain)):
            verdict = _judge_path(record, path, names, now)
            if verdict.is_authenticated:
                return verdict
            best = verdict
    return best


def strongest(records: Sequence[Tlsa]) -> list[Tlsa]:
    """The usable records that count: of digests for one usage and selector, only those of the strongest kind.

    RFC 7671 §9, digest agility; OpenSSL, and so Postfix, has it.
    """
    usable = [record for record in records if record.is_usable]
    best: dict[tuple[int, int], int] = {}
    for record in usable:
        key = (record.usage, record.selector)
        best[key] = max(best.get(key, 0), record.matching_type)
    return [
        record
        for record in usable
        if record.matching_type in (0, best[record.usage, record.selector])  # whole data is always looked at
    ]


def fits(record: Tlsa, certificate: Certificate) -> bool:
    """Whether the record is of this certificate or of its key."""
    data = certificate.der if record.selector == 0 else certificate.public_key
    digest = _HASHES.get(record.matching_type)
    return record.data == (data if digest is None else digest(data).digest())


def stale_combinations(records: Sequence[Tlsa], chain: Sequence[Certificate]) -> list[tuple[int, int, int]]:
    """Published (usage, selector, matching type) of which no record fits the chain, though another record does.

    RFC 7671 §8: each combination must always have one that fits, since clients differ in what they look at.
    """
    usable = [record for record in records if record.is_usable]
    kinds: dict[tuple[int, int, int], bool] = {}
    for record in usable:
        key = (record.usage, record.selector, record.matching_type)
        candidates = chain[:1] if record.usage == DANE_EE else chain
        kinds[key] = kinds.get(key, False) or any(fits(record, each) for each in candidates)
    return [key for key, does_fit in kinds.items() if not does_fit] if any(kinds.values()) else []


def _path_to(record: Tlsa, chain: Sequence[Certificate]) -> list[Certificate]:
    """From the server's certificate to the trust anchor; empty: the anchor is not reached.

    RFC 7672 §3.1.2: the anchor must be among what the server presents, unless the record holds it whole.
    """
    others = list(chain[1:_MAX_CHAIN])
    if record.matching_type == 0 and record.selector == 0:
        try:
            others.append(read_certificate(record.data))
        except CertificateUnreadable:
            return []
    path = [chain[0]]
    while not fits(record, path[-1]):
        issuer = next((each for each in others if path[-1].is_issued_by(each)), None)
        if issuer is None or issuer in path:
            return []
        path.append(issuer)
    return path


def _judge_path(record: Tlsa, path: list[Certificate], names: Sequence[str], now: datetime) -> Verdict:
    ends = min(certificate.not_after for certificate in path)
    if not any(path[0].names_host(name) for name in names):
        return Verdict(Match.NAME, record, ends)
    if ends < now or any(certificate.not_before > now for certificate in path):
        return Verdict(Match.EXPIRED, record, ends)
    return Verdict(Match.MATCHES, record, ends)
