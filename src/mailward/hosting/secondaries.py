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
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig

from mailward.core.dns.nameserver import Secondary
from mailward.core.dns.wire import HEADER
from mailward.core.places import show_place
from mailward.hosting.transfer import TSIG_ERRORS, Keys, make_notify
from mailward.net import clock

_log = logging.getLogger("mailward.nameserver")

FIRST_WAIT_SECONDS = 2.0
_ASK_SECONDS = 5.0
ATTEMPTS = 6
"""RFC 1996 section 3.6: again until answered, less and less often; the SOA's refresh is what remains after that."""


class Secondaries:
    def __init__(self, secondaries: Sequence[Secondary], keys: Keys) -> None:
        """Each is told with its own key, or the first of `keys`. Raises ValueError for a key that is not there."""
        self._secondaries = tuple((each, _key_of(each, keys)) for each in secondaries)
        self._telling: dict[bytes, asyncio.Task[None]] = {}
        self.told: Counter[str] = Counter()
        """Secondaries, each time the zone had changed, by outcome: `answered`, `refused`, `silent`."""

    def tell(self, apex: bytes) -> None:
        """The zone has changed. Whoever is still being told of an earlier change is told of this one instead."""
        if (earlier := self._telling.pop(apex, None)) is not None:
            earlier.cancel()
        if self._secondaries:
            self._telling[apex] = asyncio.create_task(self._tell_all(apex))

    async def serials(self, apex: bytes) -> dict[tuple[str, int], int]:
        """What each has now of our zone; without those that do not answer, or do not have it."""
        places = [(each.address, each.port) for each, _ in self._secondaries]
        answers = await asyncio.gather(*(_ask_serial(place, apex) for place in places))
        return {place: serial for place, serial in zip(places, answers, strict=True) if serial is not None}

    def __len__(self) -> int:
        return len(self._secondaries)

    def close(self) -> None:
        for task in self._telling.values():
            task.cancel()

    async def _tell_all(self, apex: bytes) -> None:
        async with asyncio.TaskGroup() as group:
            for each, key in self._secondaries:
                group.create_task(self._tell(each, key, apex))

    async def _tell(self, secondary: Secondary, key: dns.tsig.Key | None, apex: bytes) -> None:
        loop = asyncio.get_running_loop()
        number = secrets.randbelow(65_536)
        wait = FIRST_WAIT_SECONDS
        told = {
            "secondary": show_place((secondary.address, secondary.port)),
            "zone": dns.name.from_wire(apex, 0)[0].to_text(omit_final_dot=True),
        }
        refusal = ""
        for _ in range(ATTEMPTS):
            answered: asyncio.Future[None] = loop.create_future()
            question = make_notify(apex, number, key, int(clock.now().timestamp()))
            try:
                transport, waiter = await loop.create_datagram_endpoint(
                    partial(_Waiter, question, key, answered),
                    remote_addr=(secondary.address, secondary.port),
                )
            except OSError:
                await asyncio.sleep(wait)
                wait *= 2
                continue
            try:
                transport.sendto(question)
                async with asyncio.timeout(wait):
                    await answered
                self.told["answered"] += 1
                return
            except TimeoutError:
                wait *= 2
            finally:
                transport.close()
            if waiter.refusal not in ("", refusal):
                _log.warning("notify-refused", extra=told | {"rcode": waiter.refusal})
            refusal = waiter.refusal or refusal
        self.told["refused" if refusal else "silent"] += 1
        _log.warning("secondary-not-told", extra=told | {"rcode": refusal or "no answer"})


def _key_of(secondary: Secondary, keys: Keys) -> dns.tsig.Key | None:
    if not secondary.key:
        return next(iter(keys.values()), None)
    found = keys.get(dns.name.from_text(secondary.key))
    if found is None:
        raise ValueError(f"no key of transfer_keys is called {secondary.key}")
    return found


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


def _read_refusal(response: bytes) -> str:
    """Its RCODE, and what is wrong with the signature where it says that (RFC 8945 section 5.2); empty: it is none."""
    code = response[3] & 0x0F
    if code == dns.rcode.NOERROR:
        return ""
    try:
        error = dns.message.from_wire(response, keyring=False, ignore_trailing=True).tsig_error
    except (dns.exception.DNSException, ValueError):
        error = 0
    name = dns.rcode.to_text(dns.rcode.Rcode(code))
    return f"{name}, {TSIG_ERRORS[error]}" if error in TSIG_ERRORS else name


class _Waiter(asyncio.DatagramProtocol):
    """Waits for the response with our id that accepts it, signed where the question is: nobody else's ends the telling.
    A refusal is kept, and waited on: the next attempt comes when it would come after silence.
    """

    def __init__(self, question: bytes, key: dns.tsig.Key | None, answered: "asyncio.Future[None]") -> None:
        self._id, self._key = question[:2], key
        self._mac = dns.message.from_wire(question, keyring=False).mac or b""
        self._answered = answered
        self.refusal = ""

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] != self._id or len(data) < HEADER or not data[2] & 0x80 or self._answered.done():
            return
        if refusal := _read_refusal(data) or self._doubt(data):
            self.refusal = refusal
        else:
            self._answered.set_result(None)

    def _doubt(self, data: bytes) -> str:
        """RFC 8945 section 5.3: what is signed is answered so."""
        if self._key is None:
            return ""
        keyring = {self._key.name: self._key}
        try:
            if not dns.message.from_wire(data, keyring=False, ignore_trailing=True).had_tsig:
                return "an answer without signature"
            dns.message.from_wire(data, keyring=keyring, request_mac=self._mac, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            return "an answer with a wrong signature"
        return ""
