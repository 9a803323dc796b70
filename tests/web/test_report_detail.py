"""One report: the document, who vouches for it, the bytes as they came."""

import json

import pytest
from django.test import Client
from tests.fakes.arrivals import FAILED, UNVERIFIED, arrive, arrive_raw, post

from mailward.store.models import Domain, Report, Trust, User
from mailward.store.services.incoming import Judgement
from mailward.web.pages.reports.trust import badge_of, describe_trust, note_names


def page(client: Client, report_id: int) -> str:
    response = client.get(f"/reports/{report_id}/")
    assert response.status_code == 200
    return response.content.decode()


def test_a_report_is_a_document_with_its_json_beside_it(rita: Client, domain: Domain) -> None:
    shown = page(rita, arrive(domain))
    assert "3 of 103 sessions failed" in shown
    assert "The JSON that the sender wrote" in shown
    assert "&quot;report-id&quot;: &quot;2026-11-23T00:00:00Z_example.test&quot;" in shown
    assert "good DKIM signature of google.test" in shown


def test_a_report_of_another_domain_is_called_foreign(alice: Client, domain: Domain) -> None:
    shown = page(alice, arrive(domain, policy_domain="elsewhere.test"))
    assert "Foreign: this report is not about example.test" in shown
    assert "elsewhere.test" in shown


def test_other_content_under_the_same_id_is_linked(alice: Client, domain: Domain) -> None:
    real, forged = arrive(domain), arrive(domain, UNVERIFIED, successful=999)
    assert f"/reports/{forged}/" in page(alice, real)
    assert f"/reports/{real}/" in page(alice, forged)
    assert "Not counted" in page(alice, forged)


def test_copies_are_listed(alice: Client, domain: Domain) -> None:
    number = arrive(domain)
    post(domain)
    assert "Later copies" in page(alice, number)


def test_the_bytes_are_given_as_they_came_and_as_no_page(rita: Client, domain: Domain) -> None:
    stored = arrive_raw(domain, b"<html><script>alert(1)</script>", UNVERIFIED)
    number = arrive(domain)
    answers = [
        rita.get(f"/reports/{number}/raw/"),
        rita.get(f"/quarantine/{stored.quarantine_id}/raw/"),
    ]
    assert bytes(Report.objects.get(pk=number).raw.content) == answers[0].content
    for answer in answers:
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="')
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("form", "content_type", "holds"),
    [
        ("json", "application/json", b'"organization-name":"Google Inc."'),
        ("csv", "text/csv", b"organization_name"),
        ("html", "text/html", b"<!doctype html>"),
    ],
)
def test_a_report_can_be_taken_along(
    rita: Client, domain: Domain, form: str, content_type: str, holds: bytes
) -> None:
    answer = rita.get(f"/reports/{arrive(domain)}/export/{form}/")
    assert answer.headers["Content-Type"].startswith(content_type)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert holds in answer.content


def test_there_is_no_other_form(alice: Client, domain: Domain) -> None:
    assert alice.get(f"/reports/{arrive(domain)}/export/pdf/").status_code == 404


def test_exported_json_is_the_report(alice: Client, domain: Domain) -> None:
    answer = alice.get(f"/reports/{arrive(domain)}/export/json/")
    assert json.loads(answer.content)["policies"][0]["summary"]["total-failure-session-count"] == 3


def test_a_report_without_most_of_its_fields_is_shown(alice: Client, domain: Domain) -> None:
    stored = arrive_raw(domain, b'{"policies": []}', FAILED)
    if stored.report_ids:
        page(alice, stored.report_ids[0])
    bare = arrive(domain, organization=None, contact=None, successful=None, failed=None)
    assert "not say" in page(alice, bare)


@pytest.mark.parametrize("trust", Trust)
def test_every_trust_has_its_words(trust: Trust) -> None:
    words = describe_trust(Report(trust=trust, signer="google.test"))
    assert words.text
    assert badge_of(trust) == (words.badge, words.label)


def test_who_imported_it_is_named(alice_user: User) -> None:
    row = Report(trust=Trust.VOUCHED_PERSON, imported_by=alice_user)
    assert describe_trust(row).text.startswith("Alice brought it in")


@pytest.mark.parametrize(
    ("signer", "contact", "is_noted"),
    [
        ("google.com", "smtp-tls-reporting@google.com", False),  # the usual
        ("google.com", "tls@mail.google.com", False),  # a subdomain is the same house
        ("mail.google.com", "tls@google.com", False),  # and the other way round
        ("evil-google.com", "tls@google.com", True),  # no subdomain
        ("google.com", "nobody", False),  # names no domain
        ("google.com", None, False),  # not said
        ("", "tls@google.com", False),  # nobody vouches: the badge says that already
    ],
)
def test_names_that_do_not_fit_the_signer_are_noted(signer: str, contact: str | None, is_noted: bool) -> None:
    assert bool(note_names(Report(signer=signer), contact)) is is_noted


@pytest.mark.parametrize(
    ("judgement", "said"),
    [
        (FAILED, "The signature does not fit the mail"),
        (UNVERIFIED, "Nothing proves who sent it"),
        (Judgement(Trust.PENDING, "temporary"), "We ask again for three days"),
        (Judgement(Trust.TEST), "You asked for this test report"),
    ],
)
def test_a_report_that_is_not_counted_says_so_and_why(
    rita: Client, domain: Domain, judgement: Judgement, said: str
) -> None:
    shown = page(rita, arrive(domain, judgement))
    assert "Not counted" in shown
    assert said in shown


def test_a_report_of_a_day_to_come_says_why_it_is_not_counted(rita: Client, domain: Domain) -> None:
    assert "a day that has not come yet" in page(rita, arrive(domain, day="2027-01-01"))


def test_the_original_is_the_senders_text_and_of_bounded_length(rita: Client, domain: Domain) -> None:
    details = [
        {
            "result-type": "validation-failure",
            "sending-mta-ip": f"192.0.2.{at % 250}",
            "failed-session-count": 1,
        }
        for at in range(4_000)
    ]
    shown = page(rita, arrive(domain, details=details))
    assert "Only the beginning is shown" in shown
    assert len(shown) < 600_000


@pytest.mark.parametrize(
    "address",
    ["/reports/1/", "/reports/99999999999999999999999/", "/reports/1/raw/", "/reports/0/export/csv/"],
)
def test_an_unknown_report_is_not_found(rita: Client, domain: Domain, address: str) -> None:
    assert rita.get(address).status_code == 404
