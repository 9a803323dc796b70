"""What could not be read, and files that people bring."""

import gzip
import io
import json
import zipfile

import msgspec
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from tests.fakes.arrivals import UNVERIFIED, arrive, arrive_raw
from tests.fakes.signer import report_json

from mailward.store.models import Domain, Door, QuarantinedMessage, RawMessage, Report
from mailward.web.pages.quarantine.preview import preview

GOOD = json.dumps(report_json()).encode()


def upload(client: Client, *files: bytes, domain: str = "") -> str:
    named = [SimpleUploadedFile(f"{number}.json", content) for number, content in enumerate(files)]
    response = client.post("/reports/upload/", {"files": named, "domain": domain})
    assert response.status_code == 200
    return response.content.decode()


def test_a_message_is_shown_with_its_reason_and_its_beginning(rita: Client, domain: Domain) -> None:
    stored = arrive_raw(domain, b"<b>no JSON</b>", None, door=Door.HTTPS)
    listed = rita.get("/quarantine/").content.decode()
    assert f"/quarantine/{stored.quarantine_id}/" in listed
    shown = rita.get(f"/quarantine/{stored.quarantine_id}/").content.decode()
    assert "&lt;b&gt;no JSON&lt;/b&gt;" in shown
    assert "not-json" in shown
    assert "Read it again" not in shown


def test_what_can_be_read_now_leaves_quarantine(alice: Client, domain: Domain) -> None:
    arrive_raw(domain, b"no JSON", None, door=Door.HTTPS)
    item = QuarantinedMessage.objects.get()
    RawMessage.objects.filter(pk=item.raw_id).update(content=GOOD)  # as if this version could read it
    answer = alice.post(f"/quarantine/{item.pk}/again/")
    assert answer.headers["Location"] == f"/reports/{Report.objects.get().pk}/"
    assert not QuarantinedMessage.objects.exists()


def test_what_still_cannot_be_read_stays(alice: Client, domain: Domain) -> None:
    stored = arrive_raw(domain, b"no JSON", None, door=Door.HTTPS)
    answer = alice.post(f"/quarantine/{stored.quarantine_id}/again/", follow=True)
    assert b"still nothing can be made of it" in answer.content
    assert b"in vain" in answer.content


def archive(*members: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as written:
        for number, content in enumerate(members):
            written.writestr(f"{number}.json", content)
    return held.getvalue()


def test_what_can_be_read_in_part_says_both(alice: Client, domain: Domain) -> None:
    shown = upload(alice, archive(GOOD, b'{"policies":'))
    item = QuarantinedMessage.objects.get()
    assert ">1 read in part</span>" in shown
    assert "1 new. " in shown
    assert "1.json, beside what was read: " in shown
    assert f"/quarantine/{item.pk}/" in shown
    assert f"/reports/{Report.objects.get().pk}/" in shown
    later = archive(GOOD, b'{"policies":', json.dumps(report_json(report_id="later")).encode())
    RawMessage.objects.filter(pk=item.raw_id).update(content=later)
    answer = alice.post(f"/quarantine/{item.pk}/again/", follow=True).content
    assert b"It was read in part: 1 new report, 0 known reports. The rest stays here." in answer


def test_a_reader_neither_uploads_nor_reads_again(rita: Client, domain: Domain) -> None:
    stored = arrive_raw(domain, b"no JSON", UNVERIFIED)
    assert rita.get("/reports/upload/").status_code == 403
    assert rita.post("/reports/upload/", {}).status_code == 403
    assert rita.post(f"/quarantine/{stored.quarantine_id}/again/").status_code == 403


def test_each_file_says_what_became_of_it(bob: Client, domain: Domain) -> None:
    foreign = json.dumps(report_json("elsewhere.test")).encode()
    shown = upload(bob, GOOD, gzip.compress(GOOD), foreign, b"no JSON")
    for words in ("1 new", "1 known", "1 foreign", "1 unreadable"):
        assert f">{words}</span>" in shown
    assert Report.objects.filter(counted=True).count() == 1
    assert QuarantinedMessage.objects.count() == 1


def test_what_a_person_uploads_is_counted_and_marked(alice: Client, domain: Domain) -> None:
    upload(alice, GOOD, domain="Example.test.")
    row = Report.objects.get()
    assert (row.trust, row.counted, row.door) == ("vouched-person", True, "upload")
    assert str(row.imported_by) == "Alice"


def test_a_report_that_came_by_mail_is_known(alice: Client, domain: Domain) -> None:
    number = arrive(domain)
    assert f"/reports/{number}/" in upload(alice, GOOD)
    assert Report.objects.get().trust == "verified"  # the more trusted copy stays


def test_the_domain_must_be_ours(charlie: Client, domain: Domain) -> None:
    assert "example.test is not one of your domains" in upload(charlie, GOOD, domain="example.test")
    assert not Report.objects.exists()


def test_an_upload_without_files_asks_for_them(alice: Client) -> None:
    assert b"Choose at least one file" in alice.post("/reports/upload/", {}).content


def test_a_file_beyond_the_limit_is_not_taken(alice: Client, domain: Domain) -> None:
    small = msgspec.structs.replace(settings.MAILWARD.reports, max_message_bytes=100)
    with override_settings(MAILWARD=msgspec.structs.replace(settings.MAILWARD, reports=small)):
        assert ">not taken</span>" in upload(alice, GOOD)
    assert not RawMessage.objects.exists()


@pytest.mark.parametrize(
    ("content", "text", "is_text"),
    [
        (b"Hello\r\n\x1b[31m", "Hello\n\\x1b[31m", True),  # a terminal's escape shows
        ("a\u202eb".encode(), "a\\u202eb", True),  # what turns text around shows
        (b"", "", True),
        (b"PK\x00\x01", "000000  50 4b 00 01" + " " * 38 + "PK..", False),
    ],
)
def test_a_preview_hides_nothing(content: bytes, text: str, is_text: bool) -> None:
    shown = preview(content)
    assert (shown.text, shown.is_text, shown.is_cut) == (text, is_text, False)


def test_a_preview_is_bounded() -> None:
    assert preview(b"a" * 5_000).is_cut
    assert len(preview(b"\0" * 10**7).text) < 30_000
