"""One installation for all tests of a file, and who collects its spans."""

from collections.abc import Iterator

import pytest
from tests.cli.test_serve import until
from tests.net.test_tracing import Collector
from tests.observing.installation import Observed
from tests.prepared import prepare


@pytest.fixture(scope="module")
def spans() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, spans: Collector) -> Iterator[Observed]:
    """Running, and it serves a policy."""
    house = Observed(
        prepare(tmp_path_factory.mktemp("observed") / "data"),
        extra={"MAILWARD_TRACING_ENDPOINT": spans.endpoint},
    )
    try:
        house.start()
        house.host_a_policy()
        until(house.fetch_policy)
        yield house
    finally:
        house.stop()
