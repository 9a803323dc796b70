"""Files that a person brings, and what the page says became of them."""

import gzip
import json
import re

import msgspec
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from tests.fakes.signer import google_mail, report_json

from mailward.config import Reports
from mailward.store.models import Domain, QuarantinedMessage, Report, User


def body(**report: object) -> bytes:
    return json.dumps(report_json(**report)).encode()  # type: ignore[arg-type]  # by name


def upload(client: Client, *files: tuple[str, bytes], domain: str = "") -> str:
    given = [SimpleUploadedFile(name, content) for name, content in files]
    answer = client.post("/reports/upload/", {"files": given, "domain": domain})
    assert answer.status_code == 200
    return answer.content.decode()


def outcomes(page: str) -> list[tuple[str, str]]:
    """Name and state of each file."""
    return re.findall(
        r'<strong>(.*?)</strong></td>\s*<td data-label="State"><span class="[^"]*">(.*?)</span>', page
    )


def test_each_file_is_told_what_became_of_it(bob: Client, bob_user: User, domain: Domain) -> None:
    page = upload(
        bob,
        ("new.json.gz", gzip.compress(body())),
        ("again.json", body()),
        ("mail.eml", google_mail(report_json(report_id="2"))),
        ("foreign.json", body(policy_domain="elsewhere.test")),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(50)),
    )
    assert outcomes(page) == [
        ("new.json.gz", "new"),
        ("again.json", "known"),
        ("mail.eml", "new"),
        ("foreign.json", "foreign"),
        ("picture.png", "unreadable"),
    ]
    for report in Report.objects.all():
        assert f'href="/reports/{report.pk}/"' in page
        assert (report.door, report.trust, report.imported_by) == ("upload", "vouched-person", bob_user)
    assert f'href="/quarantine/{QuarantinedMessage.objects.get().pk}/"' in page


def test_without_a_domain_reports_go_where_they_belong(alice: Client, domain: Domain) -> None:
    other = Domain.objects.create(
        organisation=domain.organisation, name="second.test", report_token="dom-second", claim_token="c"
    )
    upload(alice, ("a.json", body()), ("b.json", body(policy_domain="second.test")))
    assert set(Report.objects.values_list("domain", flat=True)) == {domain.pk, other.pk}


def test_with_a_domain_what_is_about_others_is_foreign(alice: Client, domain: Domain) -> None:
    Domain.objects.create(
        organisation=domain.organisation, name="second.test", report_token="dom-second", claim_token="c"
    )
    page = upload(alice, ("b.json", body(policy_domain="second.test")), domain="Example.TEST.")
    assert outcomes(page) == [("b.json", "foreign")]
    assert Report.objects.get().address_domain == domain


def test_a_mailbox_is_taken_message_by_message(alice: Client, domain: Domain) -> None:
    mails = [google_mail(report_json(report_id=str(number))) for number in range(2)]
    mailbox = b"".join(
        b"From a@b Tue Nov 24 09:00:00 2026\n" + mail + b"\n\n" for mail in (*mails, b"Subject: x\n\nx")
    )
    page = upload(alice, ("inbox", mailbox))
    assert outcomes(page) == [("inbox#1", "new"), ("inbox#2", "new"), ("inbox#3", "unreadable")]


def test_a_file_with_several_reports_links_each(alice: Client, domain: Domain) -> None:
    reports = [report_json(report_id=str(number)) for number in range(25)]
    page = upload(alice, ("all.json", json.dumps(reports).encode()))
    assert len(re.findall(r'href="/reports/\d+/"', page)) == 20
    assert "25 new." in page
    assert "and 5 more" in page


def test_what_is_too_large_is_not_taken(alice: Client, domain: Domain) -> None:
    small = msgspec.structs.replace(settings.MAILWARD, reports=Reports(max_message_bytes=1_000))
    with override_settings(MAILWARD=small):
        page = upload(alice, ("large.json", b" " * 1_001), ("box", b"From a@b 09:00\n" + b"x" * 2_000))
    assert outcomes(page) == [("large.json", "not taken"), ("box#1", "not taken")]
    assert "It has more than 1,000 bytes." in page
    assert not QuarantinedMessage.objects.exists()


@pytest.mark.parametrize("name", ["elsewhere.test", "<script>", "\0", "second.test"])
def test_a_domain_of_somebody_else_is_not_taken(
    alice: Client, domain: Domain, strangers: object, name: str
) -> None:
    Domain.objects.create(
        organisation=strangers, name="second.test", report_token="dom-second", claim_token="c"
    )  # type: ignore[misc]  # the fixture is an Organisation
    page = upload(alice, ("a.json", body()), domain=name)
    assert 'class="errorlist"' in page
    assert "<script>" not in page.split("<main")[1]
    assert not Report.objects.exists()


def test_no_file_is_a_mistake_in_the_form(alice: Client, domain: Domain) -> None:
    answer = alice.post("/reports/upload/", {"domain": ""})
    assert "Choose at least one file." in answer.content.decode()


def test_a_name_of_a_file_is_shown_and_not_believed(alice: Client, domain: Domain) -> None:
    page = upload(alice, ("<img src=x onerror=alert(1)>.json", body()))
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_an_empty_file_is_unreadable(alice: Client, domain: Domain) -> None:
    assert outcomes(upload(alice, ("empty.json", b""))) == [("empty.json", "unreadable")]


def test_the_domain_of_the_page_before_is_filled_in(alice: Client, domain: Domain) -> None:
    page = alice.get("/reports/upload/?domain=example.test").content.decode()
    assert 'value="example.test"' in page
    hostile = alice.get('/reports/upload/?domain="><script>').content.decode()
    assert "<script>" not in hostile.split("<main")[1]


def test_of_a_foreign_report_one_learns_what_to_do(alice: Client, domain: Domain) -> None:
    reports = [report_json(report_id="1"), report_json(report_id="2", policy_domain="elsewhere.test")]
    page = upload(alice, ("both.json", json.dumps(reports).encode()))
    assert "2 new; 1 of them about no domain of yours." in page
    assert "then upload the file again" not in page
    page = upload(alice, ("foreign.json", json.dumps(reports[1]).encode()))
    assert "1 that we had already, about no domain of yours." in page
    assert "then upload the file again" in page
