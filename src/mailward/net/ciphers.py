"""Which cipher suites a mail server accepts: offer many, leave out the one that it chose, offer the rest again.

Each offer is a connection of its own, one after another with a pause between, which ends as soon as the server has
chosen; their number and time are bounded. A server that turns us away before the end is left alone.
"""

import asyncio
import secrets
from collections.abc import Sequence

from mailward.core.check.facts import Ciphers
from mailward.core.names import MAX_NAME_LENGTH
from mailward.core.smtp.opening import Opening, Step
from mailward.core.tls.hello import (
    CLOSE_NOTIFY,
    RANDOM_BYTES,
    VERSIONS,
    Chosen,
    HelloAnswer,
    Refused,
    make_hello,
)
from mailward.core.tls.suites import offers
from mailward.net import clock
from mailward.net.smtpdial import Caller, Way, connect, read, speak

MAX_OFFERS = 200  # connections to one address


class _TurnedAway(Exception):
    """No answer to an offer; the text says why."""


async def list_ciphers(host: str, address: str, caller: Caller) -> Ciphers:
    """By TLS version, in the order of the server's choice. Raises nothing for what a server does or does not do."""
    accepted: dict[str, list[str]] = {version: [] for version in VERSIONS}
    until, left, unfinished = clock.monotonic() + caller.patience.many, MAX_OFFERS, ""
    try:
        for version in VERSIONS:
            for piece in offers(version):
                codes = list(piece)
                while codes:
                    if left <= 0 or clock.monotonic() >= until:
                        raise _TurnedAway(f"ended after {MAX_OFFERS - left} connections")
                    left -= 1
                    outcome = await _offer(host, address, version, codes, caller)
                    await asyncio.sleep(caller.patience.pause)
                    if isinstance(outcome, Refused) or (outcome.version, outcome.code in codes) != (
                        version,
                        True,
                    ):
                        break  # an older version, or a suite that was not offered, is no choice among these
                    codes.remove(outcome.code)
                    accepted[version].append(outcome.name)
    except _TurnedAway as error:
        unfinished = str(error)
    return Ciphers(tuple((version, tuple(names)) for version, names in accepted.items() if names), unfinished)


async def _offer(
    host: str, address: str, version: str, codes: Sequence[int], caller: Caller
) -> Chosen | Refused:
    """Raises _TurnedAway."""
    session, way = await connect(address, caller)
    if way is None:
        raise _TurnedAway(session.reason)
    name = host if len(host) <= MAX_NAME_LENGTH else host[:MAX_NAME_LENGTH]
    hello = make_hello(name, version, codes, secrets.token_bytes(RANDOM_BYTES))
    try:
        async with asyncio.timeout(way.patience.total):
            opening = Opening(caller.ehlo_name)
            await speak(opening, None, way)
            if opening.step is not Step.HANDSHAKE:
                raise _TurnedAway(f"before TLS it says {opening.text}")
            return await _ask(hello, way)
    except TimeoutError as error:
        raise _TurnedAway("no answer in time") from error
    except OSError as error:
        raise _TurnedAway(error.strerror or "the connection broke") from error
    finally:
        way.writer.close()


async def _ask(hello: bytes, way: Way) -> Chosen | Refused:
    answer = HelloAnswer()
    way.writer.write(hello)
    await way.writer.drain()
    try:
        while answer.outcome is None:
            answer.receive(await read(way))
    except ConnectionError:
        return Refused("the connection was closed")
    if isinstance(answer.outcome, Chosen) and not way.writer.is_closing():
        way.writer.write(CLOSE_NOTIFY)
    return answer.outcome
