"""A real SMTP server as relay, and the settings that name it; a node that looks after certificates."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.fakes.relay import FakeRelay
from tests.worker.certificatebed import Bed

from mailward.config import Console, Settings


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


@pytest.fixture
async def bed(tmp_path: Path) -> AsyncIterator[Bed]:
    bed = Bed(tmp_path)
    async with bed.dns:
        yield bed
        await bed.stop()


@pytest.fixture
def settings(relay: FakeRelay) -> Settings:
    return Settings(console=Console(public_url="https://console.example.net"), relay=relay.settings)
