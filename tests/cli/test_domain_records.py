"""`mailward domains records` and `domains update-dns`, as the operator runs them."""

from pathlib import Path

import pytest
from tests.cli.test_user import _django, _run
from tests.prepared import prepare

_DOMAINS = """
from mailward.store.models import Domain, Organisation
for name, domain in (("Engines", "one.test"), ("Looms", "two.test")):
    organisation = Organisation.objects.create(name=name, report_token=name)
    Domain.objects.create(organisation=organisation, name=domain, report_token=f"{name}1", claim_token="c")
"""

_SERVER = """
from django.conf import settings
from mailward.net.sealing import load_keyring
from mailward.store.models import DnsZone, Domain
from mailward.store.services.dnsupdates import zone_purpose
organisation = Domain.objects.get(name="two.test").organisation
sealed = load_keyring(settings.MAILWARD).seal(b"0" * 32, zone_purpose(organisation.pk, "two.test"))
DnsZone.objects.create(
    organisation=organisation, zone="two.test", server="127.0.0.1", key_name="k", algorithm="hmac-sha256", key=sealed
)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepare(tmp_path_factory.mktemp("records"))
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


@pytest.mark.parametrize(
    ("domain", "complaint"),
    [
        ("three.test", "This installation does not have three.test."),
        ("one.test", "No own DNS server of the organisation has a zone that one.test is in."),
    ],
)
def test_a_domain_whose_records_others_keep_is_told_of(data: Path, domain: str, complaint: str) -> None:
    done = _run(data, "-m", "mailward", "domains", "update-dns", domain, "--check")
    assert (done.returncode, done.stderr.strip()) == (2, f"mailward: {complaint}")


def test_each_record_of_a_server_that_is_away_is_told_of(data: Path) -> None:
    assert _django(data, _SERVER) == ""
    done = _run(data, "-m", "mailward", "domains", "update-dns", "two.test", "--check")
    assert done.returncode == 1
    assert "mta-sts.two.test CNAME could not be written: 127.0.0.1 is a loopback address" in done.stdout
