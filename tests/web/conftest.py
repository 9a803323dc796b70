"""Pages are asked for by Django's test client, as the people of tests/conftest.py."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache


@pytest.fixture(autouse=True)
def _no_memory_of_other_tests() -> Iterator[None]:
    """allauth counts failed logins in the cache."""
    cache.clear()
    yield
    cache.clear()
