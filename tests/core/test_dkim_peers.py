"""Our verifier and signer against an independent implementation, dkimpy; and against hostile sizes."""

import re
import time
from typing import Any

import dkim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.signer import SIGNED_AT, Signer, google_mail, private_pem, report_json, rsa_key

from mailward.core.dkim import Result, verify
from mailward.core.dkim.message import relaxed_body, simple_body

GOOGLE = Signer("google.test", key_tags="")
MAIL = google_mail(report_json())
FIELDS = [b"from", b"to", b"subject", b"date", b"message-id", b"content-type"]


def ask(name: bytes, timeout: int = 5) -> bytes | None:
    return GOOGLE.record if name.decode().rstrip(".") == GOOGLE.key_name else None


def signed_by_peer(raw: bytes, **options: Any) -> bytes:
    value = dkim.sign(
        raw, b"s2026", b"google.test", private_pem(rsa_key()), include_headers=FIELDS, **options
    )
    return bytes(value) + raw


@pytest.mark.parametrize("header", [b"simple", b"relaxed"])
@pytest.mark.parametrize("body", [b"simple", b"relaxed"])
def test_we_verify_what_dkimpy_signs(header: bytes, body: bytes) -> None:
    raw = signed_by_peer(MAIL, canonicalize=(header, body))
    assert verify(raw, GOOGLE.answers(), SIGNED_AT).result is Result.PASS


def test_g13_what_we_sign_covers_both_tls_report_fields() -> None:
    head = Signer("google.test").sign(google_mail(report_json())).partition(b"\r\n\r\n")[0]
    (signed,) = re.findall(rb"\bh=([^;]*);", head)
    assert {b"tls-report-domain", b"tls-report-submitter"} <= set(signed.split(b":"))


def test_dkimpy_verifies_what_we_sign() -> None:
    assert dkim.verify(GOOGLE.sign(MAIL), dnsfunc=ask)


@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b"\n", b"--", b"  x"]), max_size=30))
@settings(max_examples=150, deadline=None)
def test_any_body_gives_the_same_verdict_as_dkimpy(pieces: list[bytes]) -> None:
    head = MAIL[: MAIL.index(b"\r\n\r\n") + 4]
    # SMTP ends every body with CRLF; without one dkimpy keeps white space that the RFC ignores
    raw = head + b"".join(pieces) + b"\r\n"
    for form in (b"simple", b"relaxed"):
        signed = signed_by_peer(raw, canonicalize=(b"relaxed", form))
        assert dkim.verify(signed, dnsfunc=ask)
        assert verify(signed, GOOGLE.answers(), SIGNED_AT).result is Result.PASS


@pytest.mark.parametrize(
    "body, simple, relaxed",
    [  # RFC 6376 §3.4.5, and the empty body of §3.4.3 and §3.4.4
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),
        (b"", b"\r\n", b""),
        (b"\r\n\r\n", b"\r\n", b""),
        (b"no end", b"no end\r\n", b"no end\r\n"),
    ],
)
def test_canonical_bodies_of_the_rfc(body: bytes, simple: bytes, relaxed: bytes) -> None:
    assert (simple_body(body), relaxed_body(body)) == (simple, relaxed)


@pytest.mark.parametrize(
    "raw, reason",
    [
        (GOOGLE.sign(MAIL) + b" " * 8_000_000, "spaces without an end"),
        (GOOGLE.sign(MAIL) + b"\r\n" * 4_000_000, "empty lines"),
        (GOOGLE.sign(MAIL) + b"\n\r" * 4_000_000, "line ends the wrong way round"),
        (b"X: " + b"a\r\n " * 2_000_000 + GOOGLE.sign(MAIL), "a folded field without an end"),
        (b"X: a\r\n" * 1_000_000 + GOOGLE.sign(MAIL), "a million fields"),
        (b"DKIM-Signature: " + b"a=b; " * 500_000 + b"\r\n" + GOOGLE.sign(MAIL), "a million tags"),
        (b"DKIM-Signature: v=1; h=" + b"from:" * 40_000 + b"\r\n" + GOOGLE.sign(MAIL), "names without end"),
        (b"From: " + b"(" * 200_000 + b"\r\n\r\n", "nested comments"),
    ],
)
def test_hostile_sizes_cost_bounded_time(raw: bytes, reason: str) -> None:
    started = time.process_time()
    verify(raw, GOOGLE.answers(), SIGNED_AT)
    assert time.process_time() - started < 5, reason
