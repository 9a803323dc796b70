"""What is learnt of a server in front of ours counts for all domains behind it, and for no other server."""

import asyncio

import pytest

from mailward.hosting import fronts
from mailward.hosting.fronts import BUSY, NOT_ASKED, Fronts, Look
from mailward.net import clock

DEAD = Look("no connection", is_connected=False)


class Server:
    """Counts who looks at it; `answer` None: it hangs until somebody sets it."""

    def __init__(self, answer: Look | None) -> None:
        self.answer, self.looks = answer, 0
        self._waiting = asyncio.Event()

    async def look(self) -> Look:
        self.looks += 1
        if self.answer is None:
            await self._waiting.wait()
        assert self.answer is not None
        return self.answer

    def end(self, answer: Look) -> None:
        self.answer = answer
        self._waiting.set()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    return now


async def test_an_address_that_nobody_answers_at_is_asked_once_for_many_domains(time: list[float]) -> None:
    asked, dead, well = Fronts(), Server(DEAD), Server(Look(""))
    assert await asked.ask("192.0.2.1", dead.look) == "no connection"
    assert [await asked.ask("192.0.2.1", dead.look) for _ in range(100)] == [NOT_ASKED] * 100
    assert dead.looks == 1
    # its neighbour is another server
    assert await asked.ask("192.0.2.2", well.look) == ""
    time[0] += fronts.SILENT_SECONDS
    assert await asked.ask("192.0.2.1", well.look) == ""
    assert await asked.ask("192.0.2.1", well.look) == ""


async def test_when_it_may_be_back_one_finds_out_and_the_others_do_not_wait(time: list[float]) -> None:
    asked, hanging = Fronts(), Server(None)
    await asked.ask("192.0.2.1", Server(DEAD).look)
    time[0] += fronts.SILENT_SECONDS
    first = asyncio.create_task(asked.ask("192.0.2.1", hanging.look))
    await asyncio.sleep(0)
    assert await asked.ask("192.0.2.1", hanging.look) == NOT_ASKED
    hanging.end(Look(""))
    assert await first == ""
    assert await asked.ask("192.0.2.1", hanging.look) == ""


async def test_what_a_server_says_under_one_name_counts_for_no_other(time: list[float]) -> None:
    asked, refusing = Fronts(), Server(Look("no TLS"))
    assert [await asked.ask("192.0.2.1", refusing.look) for _ in range(2)] == ["no TLS"] * 2
    assert await asked.ask("192.0.2.1", Server(Look("")).look) == ""


async def test_servers_that_hang_leave_room_for_those_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "TURN_SECONDS", 0.01)
    asked, hanging = Fronts(), Server(None)
    waiting = [
        asyncio.create_task(asked.ask(f"192.0.2.{number % 250}", hanging.look))
        for number in range(fronts.LOOKS_A_NETWORK)
    ]
    await asyncio.sleep(0)
    assert await asked.ask("192.0.2.251", Server(Look("")).look) == BUSY
    assert await asked.ask("198.51.100.1", Server(Look("")).look) == ""
    hanging.end(Look("nothing came"))
    assert set(await asyncio.gather(*waiting)) == {"nothing came"}
    assert hanging.looks == fronts.LOOKS_A_NETWORK
    assert await asked.ask("192.0.2.251", Server(Look("")).look) == ""
