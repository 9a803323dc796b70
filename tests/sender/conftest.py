from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.sender.lab import Lab, running_lab

from mailward.sender.daemon import Daemon


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with running_lab(tmp_path) as lab:
        yield lab


@pytest.fixture
async def daemon(lab: Lab) -> AsyncIterator[Daemon]:
    """With its parts, but no socket: `answers.answer` takes questions."""
    daemon = lab.daemon()
    yield daemon
    await daemon.knowledge.close()
