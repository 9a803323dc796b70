"""The endpoint of the supervisor, whose loop watches over all services."""

import asyncio
import threading
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fakes.ports import free_port

from mailward.cli import metrics
from mailward.cli.metrics import Endpoint, Lines, serving
from mailward.config import Settings


async def test_a_folder_of_backups_that_hangs_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network file system does whose server is away."""
    comes_back, asked = threading.Event(), list[int]()

    def hang(_: Settings) -> datetime:
        asked.append(1)
        assert comes_back.wait(12)
        return datetime(2026, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(metrics, "newest_backup", hang)
    monkeypatch.setattr(metrics, "ANSWER_SECONDS", 0.2)
    port, endpoint = free_port(), Endpoint(Settings(data=str(tmp_path)), Lines(), (), {})

    def scrape() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            return str(answer.read(), "ascii")

    async with serving((f"127.0.0.1:{port}",), endpoint):
        for _ in range(3):
            page = await asyncio.wait_for(asyncio.to_thread(scrape), 10)
            assert "mailward_build_info" in page
            assert "mailward_backup" not in page
        assert len(asked) == 1
        comes_back.set()
        async with asyncio.timeout(10):
            while "mailward_backup_timestamp_seconds 1767225600" not in await asyncio.to_thread(scrape):
                pass
