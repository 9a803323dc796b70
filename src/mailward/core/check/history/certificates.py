"""Certificates over time: authorities that change, and renewals that TLSA records were not ready for (RFC 7671 §8)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from mailward.core.check.codes import Code
from mailward.core.check.finding import Finding
from mailward.core.check.schema import Certificate, Host, Moment, Tls
from mailward.core.check.view import read_tlsa
from mailward.core.dane.tlsa import DANE_EE, Tlsa
from mailward.core.explain.explanation import Severity

_MEMORY = timedelta(days=14)  # how long a new authority is told
_SOON = timedelta(days=14)
_ORGANISATION = re.compile(r"(?:\A|,)O=((?:\\.|[^,\\])+)")


def judge_issuers(moments: Sequence[Moment]) -> Iterator[Finding]:
    """Authorities never seen before at this place. Intermediates of one authority take turns, and are no news."""
    now = moments[-1]
    places: dict[str, dict[str, datetime]] = {}
    started: dict[str, datetime] = {}
    for moment in moments:
        for place, leaf in _leaves(moment):
            started.setdefault(place, moment.at)
            places.setdefault(place, {}).setdefault(_organisation(leaf), moment.at)
    shown = dict.fromkeys(_leaves_of(now))
    for place, organisation in shown:
        first = places[place][organisation]
        if started[place] < first and now.at - first < _MEMORY:
            before = max(places[place].items(), key=lambda item: (item[1] < first, item[1]))[0]
            evidence = (
                f"{place}: since {first:%Y-%m-%d} the certificate is issued by {organisation}, "
                f"before by {before}"
            )
            yield Finding(Code.CERTIFICATE_ISSUER_CHANGED, Severity.NOTICE, place, (evidence,))


def _leaves_of(moment: Moment) -> Iterator[tuple[str, str]]:
    return ((place, _organisation(leaf)) for place, leaf in _leaves(moment))


def _leaves(moment: Moment) -> Iterator[tuple[str, Certificate]]:
    host = moment.facts.policy_host
    for fetch in host.fetches:
        if fetch.tls and fetch.tls.chain:
            yield host.a.name, fetch.tls.chain[0]
    for mx in moment.facts.hosts:
        for session in mx.sessions:
            if session.tls and session.tls.chain:
                yield mx.name, session.tls.chain[0]


def _organisation(certificate: Certificate) -> str:
    match = _ORGANISATION.search(certificate.issuer)
    return re.sub(r"\\(.)", r"\1", match[1]) if match else certificate.issuer


@dataclass(frozen=True, slots=True)
class _Presented:
    at: datetime
    records: tuple[Tlsa, ...]
    """That DNSSEC proves, then."""
    chain: list[Certificate]

    @property
    def leaf(self) -> Certificate:
        return self.chain[0]


def judge_renewals(moments: Sequence[Moment]) -> Iterator[Finding]:
    now = moments[-1]
    for host in now.facts.hosts:
        for session in host.sessions:
            if _of(host, session.tls, now.at) is not None:
                seen = list(_sights(moments, host.name, session.address))
                yield from _judge(host.name, session.address, seen)


def _sights(moments: Sequence[Moment], name: str, address: str) -> Iterator[_Presented]:
    for moment in moments:
        for host in moment.facts.hosts:
            for session in host.sessions:
                if (host.name, session.address) == (name, address):
                    seen = _of(host, session.tls, moment.at)
                    if seen is not None:
                        yield seen


def _of(host: Host, tls: Tls | None, at: datetime) -> _Presented | None:
    """None: nothing that says anything about TLSA records and certificates."""
    secure = next((each for each in host.tlsa if each.dnssec and each.records), None)
    if secure is None or tls is None or not tls.chain or not tls.chain[0].sha256:
        return None
    usable = tuple(record for record in read_tlsa(tuple(secure.records)) if record.is_usable)
    return _Presented(at, usable, tls.chain) if usable else None


def _judge(name: str, address: str, seen: list[_Presented]) -> Iterator[Finding]:
    last = seen[-1]
    if any(record.matching_type != 1 for record in last.records):
        return  # what the fingerprints here cannot be compared with
    fitting = [record for record in last.records if _fits(record, last.chain)]
    if not fitting or len(fitting) < len(last.records):
        return  # it is broken already, or the next one stands ready
    renewals = [(before, after) for before, after in pairwise(seen) if _is_renewal(before, after)]
    shown = tuple(f"{record.usage} {record.selector} {record.matching_type}" for record in fitting)
    ends = (
        f"{address}: certificate until {last.leaf.not_after:%Y-%m-%d}, key {last.leaf.key_sha256}, "
        f"TLSA {', '.join(shown)}"
    )
    if renewals:
        before, after = renewals[-1]
        if not any(_fits(record, after.chain) for record in before.records):
            told = (
                f"{address}: renewed between {before.at:%Y-%m-%d} and {after.at:%Y-%m-%d}, and none of the "
                "TLSA records of before fitted"
            )
            yield Finding(Code.TLSA_NEXT_RENEWAL, Severity.WARNING, name, (told, ends))
    elif all((record.usage, record.selector) == (DANE_EE, 0) for record in fitting):
        left = last.leaf.not_after - last.at
        severity = Severity.WARNING if left < _SOON else Severity.NOTICE
        yield Finding(Code.TLSA_NEXT_RENEWAL, severity, name, (ends,))


def _is_renewal(before: _Presented, after: _Presented) -> bool:
    return before.leaf.sha256 != after.leaf.sha256 and before.leaf.not_before < after.leaf.not_before


def _fits(record: Tlsa, chain: list[Certificate]) -> bool:
    """Records of other types than SHA-256 are taken to fit: it cannot be said that they did not."""
    if record.matching_type != 1:
        return True
    candidates = chain[:1] if record.usage == DANE_EE else chain
    hashes = {each.sha256 if record.selector == 0 else each.key_sha256 for each in candidates}
    return record.data.hex() in hashes
