"""What cannot be read beside what can: said, so that whoever takes the bytes in loses nothing."""

import gzip
import io
import json
import zipfile

import pytest
from tests.fakes.signer import google_mail, report_json

from mailward.core.tlsrpt.mail import read_mail
from mailward.core.tlsrpt.read import read_bytes

GOOD = gzip.compress(json.dumps(report_json()).encode())
CUT_OFF = gzip.compress(json.dumps(report_json(report_id="second")).encode())[:60]
TYPED = "application/tlsrpt+gzip"


def mail(*parts: tuple[str, bytes]) -> bytes:
    """Of parts that are not encoded, each with its media type."""
    pieces = (f"--b\r\nContent-Type: {kind}\r\n\r\n".encode() + body + b"\r\n" for kind, body in parts)
    return (
        b"Content-Type: multipart/report; report-type=tlsrpt; boundary=b\r\n\r\n"
        + b"".join(pieces)
        + b"--b--"
    )


def archive(**members: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as written:
        for name, content in members.items():
            written.writestr(f"{name}.json", content)
    return held.getvalue()


@pytest.mark.parametrize(
    "parts, code, where",
    [
        ([(TYPED, GOOD), (TYPED, CUT_OFF)], "gzip-truncated", "part[1]"),
        ([(TYPED, CUT_OFF), (TYPED, GOOD)], "gzip-truncated", "part[0]"),
        # the part of the prescribed type alone is bad, and another is taken in its place
        ([(TYPED, b"%PDF-1.7"), ("application/gzip", GOOD)], "not-json", "part[0]"),
        ([("application/gzip", GOOD), ("application/gzip", CUT_OFF)], "gzip-truncated", "part[1]"),
        (
            [("application/zip", archive(one=GOOD, two=b"{")), (TYPED, GOOD)],
            None,
            "",
        ),  # RFC 8460 §5.3: ignored
    ],
)
def test_a_part_of_a_mail_that_cannot_be_read_is_told_of(
    parts: list[tuple[str, bytes]], code: str | None, where: str
) -> None:
    reading = read_mail(mail(*parts))
    assert len(reading.reports) == 1
    assert (reading.unread and reading.unread[0]) == code
    assert reading.unread is None or reading.unread[1].startswith(where)


@pytest.mark.parametrize(
    "raw",
    [
        google_mail(report_json()),
        mail((TYPED, GOOD), ("application/pkcs7-signature", b"0\x82")),
        mail(("text/plain", b"[A note]"), ("application/gzip", GOOD), ("application/pdf", b"%PDF-1.7")),
        GOOD,
        archive(one=GOOD, two=GOOD, readme=b"Hello"),
    ],
    ids=["as Google sends it", "a signature", "no part has its type", "a file", "an archive with a text"],
)
def test_what_is_no_report_is_not(raw: bytes) -> None:
    assert read_bytes(raw).unread is None


@pytest.mark.parametrize("inner", [CUT_OFF, mail((TYPED, GOOD), (TYPED, CUT_OFF))], ids=["file", "mail"])
def test_nor_is_what_an_archive_holds_lost(inner: bytes) -> None:
    reading = read_bytes(archive(one=GOOD, two=inner))
    assert reading.unread is not None
    assert reading.unread[0] == "gzip-truncated"
    assert reading.unread[1].startswith("two.json")
