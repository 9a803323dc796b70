"""Text of strangers, on every page that shows it: it is shown, and never becomes markup."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from tests.fakes.arrivals import VERIFIED, arrive, arrive_raw
from tests.fakes.evidence import report_failures
from tests.fakes.signer import report_json

from mailward.config import Problems
from mailward.net import clock
from mailward.store.models import Domain, Door, Notification, Problem
from mailward.store.services.problems import assess

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "tlsrpt"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
HOSTILE: dict[str, Any] = {
    "organization": SCRIPT,
    "contact": f"{IMAGE}@{SCRIPT}.test",
    "report_id": "</pre><script>alert(1)</script>'\"&",
    "details": [
        {
            "result-type": SCRIPT,
            "sending-mta-ip": SCRIPT,
            "receiving-mx-hostname": IMAGE,
            "receiving-mx-helo": SCRIPT,
            "additional-information": "javascript:alert(1)",
            "failure-reason-code": "</code><svg onload=alert(1)>",
            "failed-session-count": 3,
        }
    ],
}


def harmless(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return assert_harmless(answer.content.decode())


def assert_harmless(page: str) -> str:
    for markup in ("<script>", "<img src=x", "<svg onload", 'href="javascript:', "\x1b", "\u202e"):
        assert markup not in page
    return page


def test_a_hostile_report_is_shown_everywhere_as_text(alice: Client, domain: Domain) -> None:
    number = arrive(domain, **HOSTILE)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in harmless(alice, f"/reports/{number}/")
    for address in (
        "/reports/",
        "/domains/example.test/reports/",
        "/domains/example.test/?end=2026-11-23",
        f"/reports/{number}/export/html/",
    ):
        harmless(alice, address)


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not beside this repository")
def test_every_file_of_the_corpus_has_a_page(alice: Client, domain: Domain) -> None:
    Domain.objects.filter(pk=domain.pk).update(name="rcpt.example")
    domain.refresh_from_db()
    seen = 0
    for path in sorted(CORPUS.glob("*/*")):
        door = Door.SMTP if path.suffix == ".eml" else Door.UPLOAD
        stored = arrive_raw(domain, path.read_bytes(), VERIFIED, door=door, name=path.name)
        for number in stored.report_ids:
            harmless(alice, f"/reports/{number}/")
            seen += 1
        if stored.quarantine_id:
            harmless(alice, f"/quarantine/{stored.quarantine_id}/")
    assert seen >= 59


def test_what_cannot_be_read_is_shown_as_text(alice: Client, domain: Domain) -> None:
    content = f"{SCRIPT}\x1b[31m\u202e</pre>{IMAGE}".encode()
    number = arrive_raw(domain, content, None, door=Door.HTTPS, name=f"{IMAGE}.json").quarantine_id
    page = harmless(alice, f"/quarantine/{number}/")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m\\u202e" in page
    harmless(alice, "/quarantine/")


def test_the_name_of_an_uploaded_file_is_shown_as_text(alice: Client, domain: Domain) -> None:
    file = SimpleUploadedFile("<img src=x onerror=alert(1)>.json", json.dumps(report_json()).encode())
    answer = alice.post("/reports/upload/", {"files": [file], "domain": ""})
    assert "&lt;img src=x" in assert_harmless(answer.content.decode())


@pytest.mark.parametrize("field", ["upload/?domain", "?reporter", "?domain", "?id"])
def test_what_stands_in_an_address_is_shown_as_text(alice: Client, domain: Domain, field: str) -> None:
    harmless(alice, f"/reports/{field}=%22%3E%3Cscript%3E")


def test_a_problem_with_hostile_names_is_shown_as_text(alice: Client, domain: Domain) -> None:
    day = NOON.date() - timedelta(days=2)
    report_failures(
        [domain], day, f"{SCRIPT}.test", failed=200, host=f"mx.{SCRIPT}", result_type="<img src=x>"
    )
    with clock.frozen(NOON):
        assess([domain.pk], Problems())
    problem = Problem.objects.get()
    Notification.objects.create(
        organisation=problem.organisation, problem=problem, recipient="bob@a.test", domains=1, message_id="m",
        queued_at=NOON, error=f"550 {SCRIPT}",
    )  # fmt: skip
    harmless(alice, "/problems/")
    assert "550 &lt;script&gt;" in harmless(alice, f"/problems/{problem.pk}/")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ('a"b\r\nSet-Cookie: x=1.json', "a-b-Set-Cookie-x-1.json"),
        ("../../etc/passwd", "etc-passwd"),
        ("…", "report"),
        ("x" * 300, "x" * 100),
    ],
)
def test_a_file_name_of_a_stranger_is_made_harmless(
    rita: Client, domain: Domain, name: str, kept: str
) -> None:
    body = json.dumps(report_json()).encode()
    number = arrive_raw(domain, body, None, door=Door.UPLOAD, name=name).report_ids[0]
    answer = rita.get(f"/reports/{number}/raw/")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{kept}"'
