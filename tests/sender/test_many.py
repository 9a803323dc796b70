"""A hundred thousand domains fit: what memory holds beyond MAX_STATES domains is their answers alone."""

import asyncio
import tracemalloc

import pytest
from tests.sender.lab import Lab

from mailward.core.mtasts.decide import Cached
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain
from mailward.net import clock
from mailward.sender import knowledge
from mailward.sender.cache import Entry
from mailward.sender.daemon import Daemon

STATES = 500
PERIOD = (
    STATES // 2 + 1
)  # after so many, the older half is forgotten: memory is compared at the same moment of it
MAX_BYTES_EACH = (
    700  # the question, the answer, their place in the memo; a domain's state would be a KiB more
)


async def ask(daemon: Daemon, first: int, end: int) -> None:
    for number in range(first, end):
        assert b"OK secure" in await daemon.answers.answer(f"QUERY d{number:05}.example.test".encode())


async def test_a_domain_costs_no_more_than_its_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knowledge, "MAX_STATES", STATES)
    daemon = lab.daemon()
    now = int(clock.now().timestamp())
    cached = Cached(Policy(Mode.ENFORCE, 604_800, ("mx.example.test",)), "1", now)
    names = [Domain(f"d{number:05}.example.test") for number in range(8 * PERIOD)]
    await asyncio.gather(
        *(daemon.knowledge.cache.put(Entry(name, cached, None, now + 80_000)) for name in names)
    )
    tracemalloc.start()
    await ask(daemon, 0, 4 * PERIOD)
    before, _ = tracemalloc.get_traced_memory()
    await ask(daemon, 4 * PERIOD, 8 * PERIOD)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / (4 * PERIOD) < MAX_BYTES_EACH
    await daemon.knowledge.close()
