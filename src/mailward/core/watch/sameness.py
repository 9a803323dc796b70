"""Whether two checks say the same to a person: order, time, wording and other people's load balancers left out."""

import hashlib
from collections.abc import Iterable

import msgspec

from mailward.core.check.facts import Facts, Fetch, Lookup, MxHost, Session, Tls
from mailward.core.check.run import Report
from mailward.core.watch.keeping import says_something

DIGEST_BYTES = 16
_Parts = list[object]


def digest(report: Report) -> bytes:
    """Equal where nothing changed. What was not observed is no change either."""
    facts = report.facts
    return _hash(
        [
            [_lookup(each) for each in (facts.mx, facts.sts, facts.tlsrpt)],
            _policy_host(facts),
            [_host(host, facts.domain) for host in sorted(facts.hosts, key=lambda host: host.name)],
            sorted([target.uri, str(target.takes_reports)] for target in facts.targets),
            sorted([each.code.value, each.severity.value, each.about] for each in report.findings),
            [[verdict.kind.value, verdict.outcome.value] for verdict in report.verdicts],
        ]
    )


def digest_session(session: Session) -> bytes:
    """Of what an MX host showed."""
    return _hash([session.address, _session(session)])


def is_own(name: str, domain: str) -> bool:
    """Whether the name is below the domain. The addresses of others are their own business, and change all day."""
    return name == domain or name.endswith(f".{domain}")


def _hash(parts: _Parts) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=DIGEST_BYTES).digest()


def _lookup(lookup: Lookup, *, with_records: bool = True) -> _Parts:
    records = sorted(lookup.records) if with_records else []
    return [lookup.found.value, records, list(lookup.chain), lookup.is_secure]


def _policy_host(facts: Facts) -> _Parts:
    host = facts.policy_host
    is_led_away = bool(host.chain)
    lookups = [_lookup(each, with_records=not is_led_away) for each in (host.v4, host.v6)]
    caa = _lookup(host.caa) if host.caa is not None else None
    return [lookups, caa, _distinct(_fetch(fetch) for fetch in host.fetches)]


def _fetch(fetch: Fetch) -> _Parts:
    body = hashlib.sha256(fetch.body).hexdigest() if fetch.has_body else ""
    return [fetch.error, fetch.status, body, _tls(fetch.tls)]


def _host(host: MxHost, domain: str) -> _Parts:
    own = is_own(host.name, domain)
    seen = [session for session in host.sessions if says_something(session)]
    return [
        host.name,
        [_lookup(each, with_records=own) for each in (host.v4, host.v6)],
        [_lookup(each) for each in host.tlsa],
        _distinct(_session(session) for session in seen),
    ]


def _session(session: Session) -> _Parts:
    depth = session.depth
    ciphers = depth.ciphers if depth is not None else None
    # at the end, and only where they were asked for: what was kept without them stays the same
    more: _Parts = (
        [sorted([version, sorted(names)] for version, names in ciphers.accepted)] if ciphers else []
    )
    return [
        session.reach.value,
        session.offers_starttls,
        bool(session.starttls_reply),
        bool(session.tls_error),
        _tls(session.tls),
        None if depth is None else [sorted(version for version, _ in depth.versions), depth.accepts_injected],
        *more,
    ]


def _tls(tls: Tls | None) -> _Parts | None:
    if tls is None:
        return None
    chain = [hashlib.sha256(certificate).hexdigest() for certificate in tls.chain]
    return [tls.version, chain, sorted([error.number, error.depth] for error in tls.errors)]


def _distinct(parts: Iterable[_Parts]) -> list[_Parts]:
    found = {msgspec.json.encode(part): part for part in parts}
    return [found[key] for key in sorted(found)]
