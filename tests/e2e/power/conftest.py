"""Only root may make network namespaces: elsewhere these tests skip; in CI, and where root cannot, they fail."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def root() -> None:
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("network namespaces and Debian trees need root")
    assert os.geteuid() == 0, "CI must run these tests as root"
