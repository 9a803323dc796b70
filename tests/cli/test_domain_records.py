"""`mailward domains records`, as the operator runs it."""

from pathlib import Path

import pytest
from tests.cli.test_user import _django, _run

_DOMAINS = """
from mailward.store.models import Domain, Organisation
for name, domain in (("Engines", "one.test"), ("Looms", "two.test")):
    organisation = Organisation.objects.create(name=name, report_token=name)
    Domain.objects.create(organisation=organisation, name=domain, report_token=f"{name}1", claim_token="c")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    assert _run(folder, "-m", "mailward", "_prepare").returncode == 0
    assert _django(folder, _DOMAINS) == ""
    return folder


def test_the_zone_form_has_every_domain_and_csv_the_chosen_one(data: Path) -> None:
    zone = _run(data, "-m", "mailward", "domains", "records").stdout
    assert "mta-sts.one.test. 3600 IN CNAME localhost.\n" in zone
    assert "_smtp._tls.two.test." in zone
    chosen = _run(data, "-m", "mailward", "domains", "records", "--format", "csv", "TWO.test").stdout
    assert "two.test" in chosen
    assert "one.test" not in chosen


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["three.test"], "does not have three.test"), (["--format", "xml"], "zone, csv, text")],
)
def test_what_cannot_be_printed_is_told_in_a_sentence(
    data: Path, arguments: list[str], complaint: str
) -> None:
    done = _run(data, "-m", "mailward", "domains", "records", *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
