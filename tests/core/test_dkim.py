"""DKIM as RFC 8460 section 3 asks for it (G3, R1 of the requirements)."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.signer import SIGNED_AT, Signer, ed25519_key, google_mail, key_record, report_json, rsa_key

from mailward.core.dkim import (
    DkimVerdict,
    KeyAnswer,
    KeyStatus,
    Result,
    find_signatures,
    from_domain,
    verify,
)

GOOGLE = Signer("google.test")
MAIL = google_mail(report_json())
CORPUS_MAIL = Path(__file__).parents[2] / "../shared/corpus/tlsrpt/parsedmarc/google.com_smtp_tls_report.eml"


def judge(raw: bytes, signer: Signer = GOOGLE) -> DkimVerdict:
    return verify(raw, signer.answers(), SIGNED_AT)


def with_record(record: bytes) -> DkimVerdict:
    answers = {GOOGLE.key_name: KeyAnswer(KeyStatus.FOUND, (record,))}
    return verify(GOOGLE.sign(MAIL), answers, SIGNED_AT)


def test_r1_a_signature_of_the_reporting_domain_passes() -> None:
    assert judge(GOOGLE.sign(MAIL)) == DkimVerdict(
        Result.PASS, "google.test", "Signature of google.test: valid."
    )


def test_r1_a_mail_without_signature_is_absent() -> None:
    assert judge(MAIL).result is Result.ABSENT


def test_an_ed25519_signature_passes() -> None:
    signer = Signer("google.test", key=ed25519_key())
    assert judge(signer.sign(MAIL), signer).result is Result.PASS


def test_a_parent_of_the_from_domain_may_sign() -> None:
    mail = google_mail(report_json(), sender_domain="mail.google.test")
    assert judge(GOOGLE.sign(mail)).result is Result.PASS


@pytest.mark.parametrize(
    "domain",
    [
        "evil.test",  # somebody else
        "mail.google.test",  # a child does not speak for its parent
        "oogle.test",  # ends alike, is no parent
        "test",  # one label speaks for nobody
    ],
)
def test_r1_a_signature_of_another_domain_fails(domain: str) -> None:
    signer = Signer(domain)
    verdict = judge(signer.sign(MAIL), signer)
    assert verdict.result is Result.FAIL
    assert "does not speak for google.test" in verdict.detail


def test_g3_l_is_refused() -> None:
    verdict = judge(GOOGLE.sign(MAIL, extra_tags="l=10; "))
    assert verdict.result is Result.FAIL
    assert "l=" in verdict.detail


@pytest.mark.parametrize(
    "tags, result",
    [
        ("s=tlsrpt; ", Result.PASS),
        ("", Result.PASS),  # RFC 6376 §3.6.1: absent means any
        ("s=*; ", Result.PASS),
        ("s=email:tlsrpt; ", Result.PASS),
        ("s=email; ", Result.FAIL),
    ],
)
def test_g3_the_key_must_be_for_tls_reports(tags: str, result: Result) -> None:
    assert with_record(key_record(rsa_key(), tags)).result is result


@pytest.mark.parametrize(
    "record, result, reason",
    [
        (b"v=DKIM1; p=", Result.KEY_GONE, "revoked"),
        (b"v=DKIM2; p=AAAA", Result.FAIL, "another version"),
        (b"v=DKIM1; k=rsa", Result.FAIL, "no key"),
        (b"v=DKIM1; p=%%%", Result.FAIL, "no base64"),
        (b"v=DKIM1; p=AAAA", Result.FAIL, "no key inside"),
        (b"v=spf1 -all", Result.FAIL, "something else stands there"),
        # an id of its own: a fresh key in it would differ from worker to worker
        pytest.param(key_record(ed25519_key()), Result.FAIL, "a key of another kind", id="ed25519"),
        (key_record(rsa_key(3072)), Result.FAIL, "another key"),
        (key_record(rsa_key(1024)), Result.FAIL, "another key, just strong enough"),
        (key_record(rsa_key(), "h=sha1; "), Result.FAIL, "only for SHA-1"),
        (key_record(rsa_key(), "t=s; "), Result.PASS, "t=s and no i="),
        (b"v=DKIM1; p=" + b"A" * 20_000, Result.FAIL, "too large to look at"),
    ],
)
def test_a_key_record(record: bytes, result: Result, reason: str) -> None:
    assert with_record(record).result is result, reason


def test_a_weak_key_fails() -> None:
    # 768 bits; made once with OpenSSL 3, since libraries refuse to make one
    weak = (
        b"v=DKIM1; p=MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhAMhrzr0ck9Jei8HgN2PmzdmDmaZcShYMgMZRmfmZ"
        b"+GYoyZcQnHqUgq7AOjdJzGJqDKz+/SQXPMGYv+J0gQKrXAOpvjs0wN/0f7y0DFHZyQ0lL6H7HoGSy0Tt6hzRPDPBOQIDAQAB"
    )
    assert "too weak" in with_record(weak).detail


@pytest.mark.parametrize(
    "answer, result",
    [
        (KeyAnswer(KeyStatus.GONE), Result.KEY_GONE),
        (KeyAnswer(KeyStatus.FOUND), Result.KEY_GONE),
        (KeyAnswer(KeyStatus.TEMPORARY, reason="SERVFAIL"), Result.TEMPORARY),
    ],
)
def test_what_dns_says(answer: KeyAnswer, result: Result) -> None:
    assert verify(GOOGLE.sign(MAIL), {GOOGLE.key_name: answer}, SIGNED_AT).result is result


def test_a_key_that_was_not_asked_for_is_temporary() -> None:
    assert verify(GOOGLE.sign(MAIL), {}, SIGNED_AT).result is Result.TEMPORARY


def test_an_expired_signature_fails() -> None:
    raw = GOOGLE.sign(MAIL, extra_tags=f"x={int(SIGNED_AT.timestamp()) + 60}; ")
    assert verify(raw, GOOGLE.answers(), SIGNED_AT).result is Result.PASS
    assert "expired" in verify(raw, GOOGLE.answers(), SIGNED_AT + timedelta(minutes=2)).detail


SIGNED = GOOGLE.sign(MAIL)


@pytest.mark.parametrize(
    "raw, reason",
    [
        (SIGNED.replace(b"aggregate", b"Aggregate"), "the body was changed"),
        (SIGNED + b"more\r\n", "something was added at the end"),
        (SIGNED.replace(b"Subject: Report", b"Subject: A Report"), "a signed field was changed"),
        (SIGNED.replace(b"From: noreply", b"From: <x@google.test>\r\nFrom: noreply"), "a second From"),
        (b"Content-Type: text/html\r\n" + SIGNED, "a second Content-Type above the signed one"),
        (b"TLS-Report-Domain: other.test\r\n" + SIGNED, "a second TLS-Report-Domain"),
        (SIGNED.replace(b"rsa-sha256", b"rsa-sha1"), "RFC 8301: no SHA-1"),
        (SIGNED.replace(b"v=1; a=", b"v=2; a="), "another version of DKIM"),
        (SIGNED.replace(b" v=1; a=", b" v=1; v=1; a="), "a tag twice"),
        (SIGNED.replace(b"h=from:", b"h=", 1).replace(b":from;", b";", 1), "From is not signed"),
        (SIGNED.replace(b"c=relaxed/relaxed", b"c=relaxed/other"), "unknown canonicalization"),
        (SIGNED.replace(b"bh=", b"bh=!"), "no base64"),
        (SIGNED.replace(b"From: noreply-smtp-tls-reporting@", b"From: a@evil.test, b@"), "two addresses"),
        (b" folded first line\r\n" + SIGNED, "no header"),
    ],
)
def test_a_forgery_fails(raw: bytes, reason: str) -> None:
    assert judge(raw).result is Result.FAIL, reason


@pytest.mark.parametrize(
    "raw, reason",
    [
        (b"Received: from a by b;\r\n\tnow\r\n" + SIGNED, "relays add fields on top"),
        (SIGNED.replace(b"\r\n", b"\n"), "a file saved with bare line feeds"),
        (SIGNED.replace(b"aggregate TLS", b"aggregate \t TLS"), "relaxed: white space runs are one space"),
        (SIGNED.replace(b"Subject: Report", b"SUBJECT:   Report"), "relaxed: case and space of a field"),
        (SIGNED + b"\r\n\r\n", "empty lines at the end"),
        (b"From MAILER-DAEMON Mon Jan  5 03:00:00 2026\r\n" + SIGNED, "the first line of an mbox entry"),
    ],
)
def test_what_happens_on_the_way_does_no_harm(raw: bytes, reason: str) -> None:
    assert judge(raw).result is Result.PASS, reason


def test_one_good_signature_among_several_is_enough() -> None:
    raw = Signer("evil.test").sign(GOOGLE.sign(MAIL))
    broken = raw.replace(
        b"DKIM-Signature:", b"DKIM-Signature: v=1; d=google.test; s=x; a=y\r\nDKIM-Signature:", 1
    )
    assert judge(broken).result is Result.PASS


def test_temporary_wins_over_a_failure_since_a_later_try_may_pass() -> None:
    other = Signer("google.test", selector="later")
    broken = GOOGLE.sign(MAIL).replace(b"; bh=", b"; bh=").replace(b"aggregate", b"Aggregate")
    verdict = verify(other.sign(broken), GOOGLE.answers(), SIGNED_AT)
    assert verdict.result is Result.TEMPORARY


def test_at_most_five_aligned_signatures_are_tried() -> None:
    forged = b"".join(
        b"DKIM-Signature: v=1; a=rsa-sha256; d=google.test; s=s%d; h=from; bh=AAAA; b=AAAA\r\n" % number
        for number in range(30)
    )
    assert [each.selector for each in find_signatures(forged + SIGNED)] == [f"s{n}" for n in range(5)]


def test_g13_unsigned_tls_report_fields_are_noted() -> None:
    bare = MAIL.replace(b"TLS-Report-Domain: example.test\r\n", b"")
    verdict = judge(b"TLS-Report-Domain: example.test\r\n" + GOOGLE.sign(bare))
    assert verdict == DkimVerdict(
        Result.PASS, "google.test", "Signature of google.test: valid; not signed: tls-report-domain."
    )


@pytest.mark.parametrize(
    "field, domain",
    [
        ("From: a@example.test", "example.test"),
        ("From: Name <a@EXAMPLE.test>", "example.test"),
        ('From: "a@evil.test" <a@example.test>', "example.test"),
        ("From: (a@evil.test) a@example.test", "example.test"),
        ('From: "quoted"@example.test', "example.test"),
        ("From: a@example.test\r\n (comment)", "example.test"),
        ("From: a@example.test, b@example.org", None),
        ("From: a@b@example.test", None),
        ("From: nobody", None),
        ("Sender: a@example.test", None),
        ("From: a@example.test\r\nFrom: a@example.test", None),
    ],
)
def test_the_domain_of_from(field: str, domain: str | None) -> None:
    assert from_domain(f"{field}\r\n\r\nbody".encode()) == domain


@pytest.mark.skipif(not CORPUS_MAIL.exists(), reason="the shared corpus is not beside the repository")
def test_googles_real_mail_is_read_and_its_old_key_is_gone() -> None:
    raw = CORPUS_MAIL.read_bytes()
    (signature,) = find_signatures(raw)
    assert (signature.key_name, signature.aligned) == ("20230601._domainkey.google.com", True)
    before_expiry = SIGNED_AT.replace(year=2024, month=9, day=5)
    answers = {signature.key_name: KeyAnswer(KeyStatus.GONE)}
    assert verify(raw, answers, before_expiry).result is Result.KEY_GONE
    assert verify(raw, answers, SIGNED_AT).result is Result.FAIL  # x= was in September 2024
