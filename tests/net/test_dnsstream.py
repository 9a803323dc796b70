"""Questions without waiting: each taker is called once, with its own response or why there is none."""

import asyncio
import socket

import pytest
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.ports import free_port

from mailward.net import dnsstream, quickdns
from mailward.net.answers import Answer, Status
from mailward.net.dnsstream import DnsStream
from mailward.net.resolver import Server

Said = Answer[str] | Answer[bytes] | str | None


class Taker:
    def __init__(self, count: int) -> None:
        self.said: dict[int, Said] = {}
        self.all = asyncio.Event()
        self._count = count

    def take(self, step: int, wire: bytes, end: int, _: Server) -> None:
        self._note(step, quickdns.NEGATIVES.get(wire[2:8]) or quickdns.read_message(wire, end))

    def miss(self, step: int, reason: str, *, is_late: bool) -> None:
        self._note(step, f"late: {reason}" if is_late else reason)

    def _note(self, step: int, said: Said) -> None:
        assert step not in self.said, "told twice"
        self.said[step] = said
        if len(self.said) == self._count:
            self.all.set()


def question(name: str) -> bytes:
    made = quickdns.build_question(name, "A")
    assert made is not None
    return made


async def ask(*servers: Server, names: list[str], seconds: float = 5.0) -> dict[int, Said]:
    stream, taker = DnsStream(servers, seconds), Taker(len(names))
    try:
        for step, name in enumerate(names):
            stream.ask(question(name), taker, step)
        async with asyncio.timeout(20):
            await taker.all.wait()
        assert stream.under_way == 0
    finally:
        stream.close()
    return taker.said


async def test_each_question_has_its_own_answer_through_many_sockets() -> None:
    names = [f"d{number}.test" for number in range(150)]
    async with FakeDns() as dns:
        for number, name in enumerate(names[:100]):
            dns.set(name, "A", f"192.0.2.{number}")
        said = await ask(Server("127.0.0.1", dns.port), names=names)
    addresses = [answer.records for answer in said.values() if isinstance(answer, Answer) and answer.found]
    assert addresses == [(f"192.0.2.{number}",) for number in range(100)]
    assert all(said[step] == Answer(Status.NXDOMAIN) for step in range(100, 150))


@pytest.mark.parametrize("fault", [Fault.SILENCE, Fault.FOREIGN_ID, Fault.OTHER_QUESTION])
async def test_what_was_not_asked_for_is_passed_over(fault: Fault) -> None:
    async with FakeDns() as dns:
        dns.fail(fault, "a.test")
        said = await ask(Server("127.0.0.1", dns.port), names=["a.test", "b.test"], seconds=0.4)
    assert said == {
        0: f"late: 127.0.0.1:{dns.port}: no answer in time",
        1: Answer(Status.NXDOMAIN),
    }


async def test_a_closed_port_is_told_at_once() -> None:
    port = free_port()
    said = await ask(Server("127.0.0.1", port), names=["a.test"], seconds=60)
    assert said == {0: f"127.0.0.1:{port}: Connection refused"}


async def test_only_the_resolver_that_was_asked_is_listened_to() -> None:
    """A forger who knows port, id and question, but has another address."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger,
    ):
        asked.bind(("127.0.0.1", 0))
        asked.setblocking(False)
        forger.bind(("127.0.0.1", 0))
        stream, taker = DnsStream([Server(*asked.getsockname())], 0.4), Taker(1)
        stream.ask(question("a.test"), taker, 0)
        query, where = await asyncio.get_running_loop().sock_recvfrom(asked, 512)
        forger.sendto(query[:2] + b"\x85\x83\0\1\0\0\0\0\0\0" + question("a.test"), where)
        async with asyncio.timeout(5):
            await taker.all.wait()
        stream.close()
    assert str(taker.said[0]).startswith("late: ")


async def test_ports_change_and_ids_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dnsstream, "_QUESTIONS", 64)
    monkeypatch.setattr(dnsstream, "SOCKETS", 4)
    seen: set[tuple[str, int]] = set()
    ids: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        stream = DnsStream([Server(*server.getsockname())], 5)
        for _ in range(1000):
            taker = Taker(1)
            stream.ask(question("a.test"), taker, 0)
            query, where = await asyncio.get_running_loop().sock_recvfrom(server, 512)
            seen.add(where)
            ids.append(query[:2])
            server.sendto(query[:2] + b"\x85\x83\0\1\0\0\0\0\0\0" + question("a.test"), where)
            await taker.all.wait()
        stream.close()
    assert len(seen) >= 12
    assert len(set(ids)) > 950
