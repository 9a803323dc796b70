"""A real SMTP server as relay, and the settings that name it."""

from collections.abc import Iterator

import pytest
from tests.fakes.relay import FakeRelay

from mailward.config import Console, Settings


@pytest.fixture
def relay() -> Iterator[FakeRelay]:
    with FakeRelay() as relay:
        yield relay


@pytest.fixture
def settings(relay: FakeRelay) -> Settings:
    return Settings(console=Console(public_url="https://console.example.net"), relay=relay.settings)
