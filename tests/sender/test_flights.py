import asyncio

import pytest

from mailward.net import clock
from mailward.sender.flights import Flights
from mailward.sender.memory import Generations


async def test_whoever_asks_for_the_same_waits_for_the_same() -> None:
    flights, runs, gate = Flights(10), list[str](), asyncio.Event()

    async def work() -> None:
        runs.append("x")
        await gate.wait()

    waiting = [asyncio.create_task(flights.join("key", work, None)) for _ in range(5)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*waiting) == [True] * 5
    assert runs == ["x"]


async def test_at_the_deadline_the_work_goes_on_without_those_who_waited() -> None:
    flights, gate = Flights(10), asyncio.Event()

    async def work() -> None:
        await gate.wait()

    assert await flights.join("key", work, clock.monotonic() + 0.01) is False
    gate.set()
    assert await flights.join("key", work, None) is True


async def test_there_are_only_so_many_at_a_time() -> None:
    flights, gate = Flights(1), asyncio.Event()

    async def work() -> None:
        await gate.wait()

    assert await flights.join("a", work, clock.monotonic()) is False
    assert await flights.join("b", work, None) is False
    await flights.close()


async def test_a_mistake_in_the_work_is_not_silent() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Flights(1).join("key", work, None)


def test_memory_is_bounded_and_keeps_what_is_used() -> None:
    memory: Generations[int, str] = Generations(10)
    for number in range(1000):
        memory.put(number, str(number))
        assert memory.get(0) in ("0", None) if number == 0 else memory.get(0) == "0"
        assert len(memory) <= 10
    assert memory.get(1) is None
    assert (memory.pop(0), memory.get(0)) == ("0", None)
