"""Before a CA is told to look in DNS: which servers show the challenge, and which are not waited for."""

from pathlib import Path

import pytest
from tests.fakes.dns import FakeDns
from tests.fakes.ports import free_port

from mailward.config import Dns, Settings
from mailward.core.acme.challenge import LABEL
from mailward.net import clock
from mailward.worker import ordering
from mailward.worker.certificates import Carer
from mailward.worker.ordering import StillWaiting, wait_for_dns

HOST, TEXT = "mta-sts.example.test", "proof"


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "SILENCE_SECONDS", 0.6)
    monkeypatch.setattr(ordering, "PATIENCE_SECONDS", 1.5)
    monkeypatch.setattr(ordering, "DNS_POLL_SECONDS", 0.1)


def carer(folder: Path, *servers: str) -> Carer:
    dns = Dns(resolvers=servers[:1], authoritative_override=servers, allow_private_addresses=True)
    return Carer(Settings(data=str(folder), dns=dns))


def nobody() -> str:
    return f"127.0.0.1:{free_port()}"


async def test_a_dead_name_server_is_waited_for_a_while_and_then_passed_over(tmp_path: Path) -> None:
    async with FakeDns() as alive:
        alive.set(f"{LABEL}.{HOST}", "TXT", TEXT)
        begun = clock.monotonic()
        await wait_for_dns(HOST, TEXT, carer(tmp_path, alive.address, nobody())._shown)
    assert clock.monotonic() - begun >= ordering.SILENCE_SECONDS


async def test_a_name_server_that_tells_something_else_is_not_passed_over(tmp_path: Path) -> None:
    """A CA may ask this one, and asks once."""
    async with FakeDns() as first, FakeDns() as behind:
        first.set(f"{LABEL}.{HOST}", "TXT", TEXT)
        behind.set(f"{LABEL}.{HOST}", "TXT", "before")
        with pytest.raises(StillWaiting, match=f"{behind.address} does not show the challenge yet"):
            await wait_for_dns(HOST, TEXT, carer(tmp_path, first.address, behind.address)._shown)


async def test_silence_everywhere_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(StillWaiting, match="no name server shows the challenge yet"):
        await wait_for_dns(HOST, TEXT, carer(tmp_path, nobody(), nobody())._shown)
