"""Each broken domain of the zoo: the check names exactly the faults that are there, no more."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.core.check.documents import assert_of_the_form
from tests.zoo.rows import Row, read_rows
from tests.zoo.servers import running_zoo

pytestmark = pytest.mark.timeout(600)

ROWS = read_rows()
Documents = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def documents() -> Iterator[Documents]:
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("network namespaces need root")
    with running_zoo(ROWS) as servers:
        yield servers.check(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_a_check_finds_what_is_wrong_and_nothing_else(documents: Documents, row: Row) -> None:
    document = documents[row.domain]
    found = {f"{finding['code']} {finding['severity']}" for finding in document["findings"]}
    assert found == set(row.expect), document["findings"]
    verdicts = {verdict["sender"]: verdict["outcome"] for verdict in document["verdicts"]}
    assert {kind: verdicts[kind] for kind in row.verdicts} == row.verdicts
    unobserved = [entry["about"].partition(" at ")[0] for entry in document["not_observed"]]
    assert unobserved == [name.replace("DOMAIN", row.domain) for name in row.unobserved]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_every_finding_shows_what_was_seen(documents: Documents, row: Row) -> None:
    assert all(finding["evidence"] for finding in documents[row.domain]["findings"])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.label)
def test_every_document_is_of_the_published_form(documents: Documents, row: Row) -> None:
    assert_of_the_form(documents[row.domain])
