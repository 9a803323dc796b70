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


MARKED = [pytest.param(row, id=row.label, marks=() if row.is_daily else pytest.mark.long) for row in ROWS]


@pytest.fixture(scope="session")
def documents(request: pytest.FixtureRequest) -> Iterator[Documents]:
    """Of the rows that were selected, and of those whose MX hosts they name."""
    if os.geteuid() != 0 and "CI" not in os.environ:
        pytest.skip("network namespaces need root")
    wanted = {item.callspec.id for item in request.session.items if hasattr(item, "callspec")}
    rows = [row for row in ROWS if row.label in wanted]
    named = {
        record.rpartition(" ")[2].rstrip(".").partition(".")[2] for row in rows for record in row.mx_records
    }
    rows += [row for row in ROWS if row.domain in named and row not in rows]
    with running_zoo(rows) as servers:
        yield servers.check(rows)


@pytest.mark.parametrize("row", MARKED)
def test_a_check_finds_what_is_wrong_and_nothing_else(documents: Documents, row: Row) -> None:
    document = documents[row.domain]
    found = {f"{finding['code']} {finding['severity']}" for finding in document["findings"]}
    assert found == set(row.expect), document["findings"]
    verdicts = {verdict["sender"]: verdict["outcome"] for verdict in document["verdicts"]}
    assert {kind: verdicts[kind] for kind in row.verdicts} == row.verdicts
    unobserved = [entry["about"].partition(" at ")[0] for entry in document["not_observed"]]
    assert unobserved == [name.replace("DOMAIN", row.domain) for name in row.unobserved]


@pytest.mark.parametrize("row", MARKED)
def test_every_finding_shows_what_was_seen(documents: Documents, row: Row) -> None:
    assert all(finding["evidence"] for finding in documents[row.domain]["findings"])


@pytest.mark.parametrize("row", MARKED)
def test_every_document_is_of_the_published_form(documents: Documents, row: Row) -> None:
    assert_of_the_form(documents[row.domain])


def test_some_twenty_rows_run_every_day_of_each_kind_and_each_server() -> None:
    daily = [row for row in ROWS if row.is_daily]
    assert 20 <= len(daily) <= 28
    assert {row.label[0] for row in daily} == {row.label[0] for row in ROWS}
    assert any(row.exim for row in daily)
    assert any(row.opensmtpd for row in daily)
