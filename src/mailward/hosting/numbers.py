"""What policy host and nameserver tell of themselves."""

import secrets
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from mailward.core.dns.wire import Rcode, Type
from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Family
from mailward.core.metrics.health import Health
from mailward.hosting.authdns import Nameserver
from mailward.hosting.following import Keeper
from mailward.net import clock

ANSWER_SECONDS = 1.0
_SOA_IN = struct.pack("!HH", Type.SOA, 1)


def snapshot_families(process: str, keeper: Keeper[Any]) -> Iterator[Family]:
    key = (process,)
    yield catalogue.SNAPSHOT_GENERATION.of({key: keeper.current.generation})
    yield catalogue.SNAPSHOT_ENTRIES.of({key: keeper.count(keeper.current)})
    yield catalogue.SNAPSHOT_CHECKED.of({key: keeper.checked_at})
    yield catalogue.DATABASE_UP.of({key: keeper.database_ok})
    yield catalogue.SNAPSHOT_REFRESHES.of(
        {(process, outcome): keeper.refreshes[outcome] for outcome in ("same", "replaced", "failed")}
    )


def snapshot_health(keeper: Keeper[Any]) -> Health:
    """Ready with something to serve, be it from the disk: a database that is away is no reason to serve nothing."""
    has_any = keeper.checked_at > 0 or keeper.count(keeper.current) > 0
    age = clock.now().timestamp() - keeper.checked_at if keeper.checked_at else None
    reasons = []
    if not has_any:
        reasons.append("nothing was read yet, and nothing was saved")
    if not keeper.database_ok:
        reasons.append("the database does not answer: what was read last is served")
    return Health(
        ready=has_any,
        degraded=not keeper.database_ok,
        reasons=tuple(reasons),
        facts={
            "database": keeper.database_ok,
            "generation": keeper.current.generation,
            "domains": keeper.count(keeper.current),
            "checked_seconds_ago": None if age is None else round(age, 1),
        },
    )


def policy_host_families(keeper: Keeper[Any], certificates: int, fetches: int) -> Iterator[Family]:
    """`fetches`: counts of them that wait to be written."""
    yield from snapshot_families("policy-host", keeper)
    yield catalogue.CERTIFICATES_HELD.one(certificates)
    yield catalogue.FETCHES_WAITING.one(fetches)


def nameserver_families(server: Nameserver, serial: int, told: Counter[str]) -> Iterator[Family]:
    counts, limiter = server.counts, server.limiter
    answers: dict[tuple[str, ...], float] = {}
    for transport, rcodes in (("udp", counts.by_udp), ("tcp", counts.by_tcp)):
        for number, count in enumerate(rcodes):
            if count or number in (Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.REFUSED):
                answers[transport, _rcode_name(number)] = count
    yield catalogue.DNS_ANSWERS.of(answers)
    limited = {"refused": limiter.refused, "dropped": limiter.dropped, "truncated": limiter.truncated}
    yield catalogue.DNS_LIMITED.of({(action,): count for action, count in limited.items()})
    yield catalogue.DNS_CONNECTIONS.one(server.connections)
    yield catalogue.DNS_TURNED_AWAY.one(counts.connections_refused)
    yield catalogue.DNS_TRANSFERS.of({(each,): counts.transfers[each] for each in ("sent", "refused", "cut")})
    yield catalogue.DNS_NOTIFIED.of({(each,): told[each] for each in ("answered", "refused", "silent")})
    yield catalogue.DNS_SERIAL.one(serial)


def nameserver_health(keeper: Keeper[Any], apex: bytes, place: tuple[str, int]) -> Health:
    """Ready where it answers for its own zone when it is asked by UDP, as any resolver asks."""
    found = snapshot_health(keeper)
    if found.ready and not answers_soa(apex, place):
        return msgspec.structs.replace(
            found, ready=False, reasons=(*found.reasons, "it does not answer for its own zone")
        )
    return found


def answers_soa(apex: bytes, place: tuple[str, int]) -> bool:
    """Waits for the answer: not on the loop that gives it."""
    question = struct.pack("!HHHHHH", secrets.randbelow(65_536), 0, 1, 0, 0, 0) + apex + _SOA_IN
    address, port = place
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - nothing is bound here
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(ANSWER_SECONDS)
        try:
            asking.connect((address, port))
            asking.send(question)
            reply = asking.recv(4096)
        except OSError:
            return False
    # a response with our id, NOERROR, and one answer
    return reply[:2] == question[:2] and reply[3] & 0x0F == Rcode.NOERROR and reply[6:8] == b"\0\1"


def _rcode_name(number: int) -> str:
    try:
        return Rcode(number).name
    except ValueError:
        return str(number)
