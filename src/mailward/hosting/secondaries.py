"""Telling secondaries that the zone has changed (RFC 1996); what they make of it is theirs: they ask for the SOA.

And asking them what they have.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Sequence
from functools import partial

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype

from mailward.hosting.transfer import Keys, make_notify
from mailward.net import clock

_log = logging.getLogger("mailward.nameserver")

FIRST_WAIT_SECONDS = 2.0
_ASK_SECONDS = 5.0
ATTEMPTS = 6
"""RFC 1996 section 3.6: again until answered, less and less often; the SOA's refresh is what remains after that."""


class Secondaries:
    def __init__(self, addresses: Sequence[tuple[str, int]], keys: Keys) -> None:
        self._addresses = tuple(addresses)
        self._key = next(iter(keys.values()), None)
        self._telling: dict[bytes, asyncio.Task[None]] = {}
        self.told: Counter[str] = Counter()
        """Secondaries, each time the zone had changed, by outcome: `answered`, `silent`."""

    def tell(self, apex: bytes) -> None:
        """The zone has changed. Whoever is still being told of an earlier change is told of this one instead."""
        if (earlier := self._telling.pop(apex, None)) is not None:
            earlier.cancel()
        if self._addresses:
            self._telling[apex] = asyncio.create_task(self._tell_all(apex))

    async def serials(self, apex: bytes) -> dict[tuple[str, int], int]:
        """What each has now of our zone; without those that do not answer, or do not have it."""
        answers = await asyncio.gather(*(_ask_serial(address, apex) for address in self._addresses))
        return {
            address: serial
            for address, serial in zip(self._addresses, answers, strict=True)
            if serial is not None
        }

    def __len__(self) -> int:
        return len(self._addresses)

    def close(self) -> None:
        for task in self._telling.values():
            task.cancel()

    async def _tell_all(self, apex: bytes) -> None:
        async with asyncio.TaskGroup() as group:
            for address in self._addresses:
                group.create_task(self._tell(address, apex))

    async def _tell(self, address: tuple[str, int], apex: bytes) -> None:
        loop = asyncio.get_running_loop()
        number = secrets.randbelow(65_536)
        wait = FIRST_WAIT_SECONDS
        for _ in range(ATTEMPTS):
            answered: asyncio.Future[None] = loop.create_future()
            try:
                transport, _protocol = await loop.create_datagram_endpoint(
                    partial(_Waiter, number, answered), remote_addr=address
                )
            except OSError:
                await asyncio.sleep(wait)
                wait *= 2
                continue
            try:
                transport.sendto(make_notify(apex, number, self._key, int(clock.now().timestamp())))
                async with asyncio.timeout(wait):
                    await answered
                self.told["answered"] += 1
                return
            except TimeoutError:
                wait *= 2
            finally:
                transport.close()
        self.told["silent"] += 1
        _log.warning("secondary-not-told", extra={"secondary": f"{address[0]}:{address[1]}"})


async def _ask_serial(address: tuple[str, int], apex: bytes) -> int | None:
    question = dns.message.make_query(dns.name.from_wire(apex, 0)[0], "SOA")
    try:
        # by TCP, which nobody answers in its place
        response = await dns.asyncquery.tcp(question, address[0], _ASK_SECONDS, address[1])
    except (OSError, EOFError, dns.exception.DNSException):
        return None
    answer = response.get_rrset(
        response.answer, question.question[0].name, dns.rdataclass.IN, dns.rdatatype.SOA
    )
    return None if answer is None else int(answer[0].serial)


class _Waiter(asyncio.DatagramProtocol):
    """Waits for the response with our id."""

    def __init__(self, number: int, answered: "asyncio.Future[None]") -> None:
        self._id = number.to_bytes(2, "big")
        self._answered = answered

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self._id and len(data) > 2 and data[2] & 0x80 and not self._answered.done():
            self._answered.set_result(None)
