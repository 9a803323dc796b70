"""Plain questions to resolvers by the hundred thousand: no future, task or timer for each.

Whoever asks hands over a `Taker`, which is called with the response, or with why there is none. Questions share
sockets, wherever the resolver is. That makes a forged answer easier to land than a port of its own for each question
does (RFC 5452 section 9.2): one of 64 ports and the id must be guessed. Ports are changed often, and what is at stake
is a row of a table, not mail.
"""

import asyncio
import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from mailward.net import quickdns
from mailward.net.resolver import Server

MAX_IN_FLIGHT = 64  # of one socket: as many answers as its buffer surely holds
SOCKETS = 64  # to one resolver
_IN_A_ROW = 32  # questions through one socket before the next has its turn: their answers are read together
_QUESTIONS = 5_000  # a socket is closed after them: a new one has a new port
_SWEEP_SECONDS = 0.25
_MAX_READS = 256  # of a socket before others have their turn, whatever is sent to it
_MAX_RESPONSE = 4096  # nobody answers with more to a question for 1,232 bytes
_IDS = 2048  # drawn at a time
_HEADER = 12


class Taker(Protocol):
    """Who asked. `step` is what it gave with the question."""

    def take(self, step: int, wire: bytes, end: int, server: Server) -> None:
        """A response to the very question, which ends at `end` in it."""

    def miss(self, step: int, reason: str, *, is_late: bool) -> None:
        """None came in time, or the resolver's port is closed."""


class DnsStream:
    """Several resolvers take turns. For one event loop."""

    def __init__(self, servers: Sequence[Server], attempt_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = attempt_seconds
        self._pools = [_Pool(server, self) for server in servers]
        self._turn = 0
        self._ids: list[bytes] = []
        """Random, each to be used once."""
        self._timer: asyncio.TimerHandle | None = None
        self.under_way = 0
        """Questions without an answer so far."""

    @property
    def has_servers(self) -> bool:
        return bool(self._pools)

    def ask(self, question: bytes, taker: Taker, step: int) -> None:
        self.ask_all(((question, step),), taker)

    def ask_all(self, questions: Sequence[tuple[bytes, int]], taker: Taker) -> None:
        """Ask the next resolver, of which there is one at least: each question with its step. The taker may be called
        at once where that fails.
        """
        pool = self._pools[self._turn]
        self._turn = (self._turn + 1) % len(self._pools)
        try:
            port = pool.pick(len(questions))
        except OSError as error:
            for _, step in questions:
                taker.miss(step, _describe(pool.server, error), is_late=False)
            return
        if self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)
        deadline, waiting, send = self._loop.time() + self._seconds, port.waiting, port.send
        for question, step in questions:
            number = self._ids.pop() if self._ids else self._draw_id()
            while number in waiting:
                number = self._draw_id()
            waiting[number] = (deadline, question, taker, step)
            self.under_way += 1
            try:
                send(quickdns.complete(number, question))
            except OSError as error:
                if waiting.pop(number, None) is not None:
                    self.under_way -= 1
                    taker.miss(step, _describe(port.server, error), is_late=False)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pool in self._pools:
            pool.close()

    def read(self, port: "_Port") -> None:
        """All that has come, so far as one wake-up may take."""
        waiting, receive = port.waiting, port.receive
        for _ in range(_MAX_READS):
            try:
                wire = receive(_MAX_RESPONSE)
            except BlockingIOError:
                return
            except OSError as error:  # the resolver's port is closed
                self._miss_all(port, _describe(port.server, error))
                return
            asked = waiting.get(wire[:2])
            if asked is None:
                continue
            _, question, taker, step = asked
            end = _HEADER + len(question)
            # what is forged or broken is passed over (RFC 5452)
            if not wire.startswith(question, _HEADER) and wire[_HEADER:end].lower() != question.lower():
                continue
            if not wire[2] & 0x80 or wire[4:6] != b"\0\1":  # a response, with one question
                continue
            del waiting[wire[:2]]
            self.under_way -= 1
            taker.take(step, wire, end, port.server)
            if not waiting:
                return  # asking for more would cost an exception; what comes unasked wakes us again

    def _draw_id(self) -> bytes:
        if not self._ids:
            octets = os.urandom(2 * _IDS)
            self._ids = [octets[at : at + 2] for at in range(0, 2 * _IDS, 2)]
        return self._ids.pop()

    def _sweep(self) -> None:
        now = self._loop.time()
        self._timer = None
        for pool in self._pools:
            for port in pool.ports():
                late = []
                for number, asked in port.waiting.items():  # in the order of asking
                    if asked[0] > now:
                        break
                    late.append(number)
                for number in late:
                    self._miss(port, number, f"{port.server}: no answer in time", is_late=True)
        if self.under_way and self._timer is None:
            self._timer = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _miss_all(self, port: "_Port", reason: str) -> None:
        for number in list(port.waiting):
            self._miss(port, number, reason, is_late=False)

    def _miss(self, port: "_Port", number: bytes, reason: str, *, is_late: bool) -> None:
        asked = port.waiting.pop(number, None)
        if asked is not None:
            self.under_way -= 1
            asked[2].miss(asked[3], reason, is_late=is_late)


class _Port:
    """A socket, and the questions that were sent through it."""

    def __init__(self, server: Server, stream: DnsStream) -> None:
        """Raises OSError."""
        self.server = server
        self.asked = 0
        self.waiting: dict[bytes, tuple[float, bytes, Taker, int]] = {}
        """By their ids: deadline, question, who asked, and its step."""
        self._loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect((server.address, server.port))  # only its datagrams are received
        except OSError:
            self._socket.close()
            raise
        self.send, self.receive = self._socket.send, self._socket.recv
        self._loop.add_reader(self._socket, partial(stream.read, self))

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()


class _Pool:
    """The sockets to one resolver."""

    def __init__(self, server: Server, stream: DnsStream) -> None:
        self.server = server
        self._stream = stream
        self._open: list[_Port] = []
        self._retired: list[_Port] = []
        self._at = self._in_a_row = 0

    def pick(self, questions: int) -> _Port:
        """For so many, some few. Raises OSError."""
        port = self._find()
        port.asked += questions
        self._in_a_row -= questions
        return port

    def _find(self) -> _Port:
        if self._in_a_row > 0 and len((port := self._open[self._at]).waiting) < MAX_IN_FLIGHT:
            return port
        self._in_a_row = _IN_A_ROW
        if len(self._open) < SOCKETS:
            return self._add()
        for _ in range(len(self._open)):
            self._at = (self._at + 1) % len(self._open)
            port = self._open[self._at]
            if port.asked >= _QUESTIONS:
                port = self._replace(port)
            if len(port.waiting) < MAX_IN_FLIGHT:
                return port
        return self._add()  # more is under way than all of them hold

    def ports(self) -> list[_Port]:
        return [*self._open, *self._retired]

    def close(self) -> None:
        for port in self.ports():
            port.close()
        self._open, self._retired, self._in_a_row = [], [], 0

    def _add(self) -> _Port:
        port = _Port(self.server, self._stream)
        self._at = len(self._open)
        self._open.append(port)
        return port

    def _replace(self, port: _Port) -> _Port:
        new = _Port(self.server, self._stream)
        self._open[self._at] = new
        self._retired.append(port)
        for each in [each for each in self._retired if not each.waiting]:
            each.close()
            self._retired.remove(each)
        return new


def _describe(server: Server, error: OSError) -> str:
    return f"{server}: {error.strerror or error}"
