"""One installation for all tests of a file."""

from collections.abc import Iterator

import pytest
from tests.cli.test_serve import until
from tests.observing.installation import Observed
from tests.prepared import prepare


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Running, and it serves a policy."""
    house = Observed(prepare(tmp_path_factory.mktemp("observed") / "data"))
    try:
        house.start()
        house.host_a_policy()
        until(house.fetch_policy)
        yield house
    finally:
        house.stop()
