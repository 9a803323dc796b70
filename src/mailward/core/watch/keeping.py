"""Facts as bytes, to be judged again by the rules of later days.

New fields of core.check.facts need defaults: what was kept before lacks them.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from mailward.core.check.facts import Facts, Reach, Session

_LEVEL = 6
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


def without_sessions(facts: Facts) -> Facts:
    return replace(facts, hosts=tuple(replace(host, sessions=()) for host in facts.hosts))


def with_sessions(facts: Facts, sessions: Mapping[str, Sequence[Session]]) -> Facts:
    """`sessions` by the name of the MX host."""
    hosts = (replace(host, sessions=tuple(sessions.get(host.name, ()))) for host in facts.hosts)
    return replace(facts, hosts=tuple(hosts))


def says_something(session: Session) -> bool:
    """Whether it is worth keeping: that nobody listens there is a fault, that we heard nothing is none."""
    return session.is_observed or session.reach is Reach.REFUSED
