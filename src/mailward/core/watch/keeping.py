"""Facts as bytes, to be judged again by the rules of later days.

New fields of core.check.facts need defaults: what was kept before lacks them.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from mailward.core.check.facts import UNOBSERVED, Facts, Reach, Session

_LEVEL = 6
_BLIND = (Reach.SILENT, Reach.TURNED_AWAY)
_FACTS = msgspec.msgpack.Decoder(Facts)
_SESSION = msgspec.msgpack.Decoder(Session)


def pack_facts(facts: Facts) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(facts), _LEVEL)


def unpack_facts(stored: bytes) -> Facts:
    """Trusts its size: the probes bound what they bring."""
    return _FACTS.decode(zlib.decompress(stored))


def pack_session(session: Session) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(session), _LEVEL)


def unpack_session(stored: bytes) -> Session:
    return _SESSION.decode(zlib.decompress(stored))


def without_looks(facts: Facts) -> Facts:
    """Without the sessions that are kept apart."""
    hosts = (
        replace(host, sessions=tuple(each for each in host.sessions if not says_something(each)))
        for host in facts.hosts
    )
    return replace(facts, hosts=tuple(hosts))


def with_looks(facts: Facts, looks: Mapping[str, Sequence[Session]]) -> Facts:
    """What `without_looks` undid. `looks` by the name of the MX host."""
    hosts = []
    for host in facts.hosts:
        seen = tuple(looks.get(host.name, ()))
        known = {session.address for session in seen}
        blind = tuple(each for each in host.sessions if each.address not in known)
        hosts.append(replace(host, sessions=seen + blind))
    return replace(facts, hosts=tuple(hosts))


def without_blind(facts: Facts) -> Facts:
    """Without the sessions that showed nothing: what is so now, another day's bad luck left out."""
    hosts = (
        replace(host, sessions=tuple(each for each in host.sessions if each.reach not in _BLIND))
        for host in facts.hosts
    )
    return replace(facts, hosts=tuple(hosts))


def bridge_fetches(facts: Facts, before: Facts) -> Facts:
    """Where a policy host was not asked this time, what it said last: that is no change."""
    policy, known = facts.policy_host, {fetch.address: fetch for fetch in before.policy_host.fetches}
    blind = [fetch.address for fetch in policy.fetches if fetch.error == UNOBSERVED]
    if not any(address in known for address in blind):
        return facts
    fetches = tuple(
        known.get(fetch.address, fetch) if fetch.error == UNOBSERVED else fetch for fetch in policy.fetches
    )
    others = policy.as_others or before.policy_host.as_others
    return replace(facts, policy_host=replace(policy, fetches=fetches, as_others=others))


def has_ciphers(sessions: Iterable[Session]) -> bool:
    """Whether the cipher suites of any of these were asked for."""
    return any(each.depth is not None and each.depth.ciphers is not None for each in sessions)


def says_something(session: Session) -> bool:
    """Whether it is worth keeping: that nobody listens there is a fault, that we heard nothing is none."""
    return session.is_observed or session.reach is Reach.REFUSED
