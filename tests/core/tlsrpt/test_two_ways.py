"""The quick way and the thorough way give the same, for any mail; and what is written is read back."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.signer import google_mail, report_json

from mailward.core.tlsrpt.canonical import content_hash
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import DEFAULT_LIMITS
from mailward.core.tlsrpt.mail import build_mail, read_mail, read_thoroughly
from mailward.core.tlsrpt.quick_mail import quick_mail
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import Reading, check_strict
from mailward.core.tlsrpt.write import serialise_report

NOW = datetime(2026, 11, 24, tzinfo=UTC)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**60),
    st.text(max_size=12),
    st.just("sts"),
    st.just([]),
    st.just({}),
)
PIECES = [
    b"\r\n", b"\n", b"\r\n\r\n", b"--0000000000007877ce062148fba9", b"--", b"=", b" ", b"\t", b";", b'"', b"\\",
    b"From: x@y.test\r\n", b"TLS-Report-Domain: other.test\r\n", b"base64", b"gzip", b"\0", b"\xff",
    b"Content-Transfer-Encoding: base64\r\n", b"MIME-Version: 1.0\r\n", b"Content-Type: text/html\r\n",
]  # fmt: skip


def outcome(raw: bytes, *, thorough: bool) -> Reading | tuple[str, str]:
    try:
        return read_thoroughly(raw, now=NOW) if thorough else read_mail(raw, now=NOW)
    except Unreadable as error:
        return error.code, error.detail


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += places(inner)
    return found


def test_a_usual_mail_goes_the_quick_way() -> None:
    assert quick_mail(google_mail(report_json()), NOW, DEFAULT_LIMITS) is not None


@given(st.data(), st.booleans())
def test_any_report_reads_the_same_both_ways(data: st.DataObject, compressed: bool) -> None:
    report = report_json()
    for _ in range(data.draw(st.integers(0, 3))):
        container, key = data.draw(
            st.sampled_from(range(len(places(report)))).map(lambda n: places(report)[n])
        )
        container[key] = data.draw(VALUES)
    raw = google_mail(report | {"report-id": str(report.get("report-id"))}, compressed=compressed)
    assert outcome(raw, thorough=False) == outcome(raw, thorough=True)


@given(st.data())
def test_any_damaged_mail_reads_the_same_both_ways(data: st.DataObject) -> None:
    raw = google_mail(report_json())
    for _ in range(data.draw(st.integers(1, 4))):
        at, cut = data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, 30))
        raw = raw[:at] + data.draw(st.sampled_from(PIECES)) + raw[at + cut :]
    assert outcome(raw, thorough=False) == outcome(raw, thorough=True)


@given(
    st.integers(0, 2**53 - 1),
    st.integers(0, 2**53 - 1),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30),
)
def test_what_is_written_is_read_back(ok: int, failed: int, name: str) -> None:
    (report,) = read_bytes(
        json.dumps(report_json(successful=ok, failed=failed, organization=name)).encode()
    ).reports
    again = read_bytes(serialise_report(report))
    assert again.reports == (report,)
    assert check_strict(again) == ()
    assert content_hash(again.reports[0]) == content_hash(report)


def test_g12_g13_a_built_mail_is_read_back_and_conforms() -> None:
    (report,) = read_bytes(json.dumps(report_json()).encode()).reports
    raw = build_mail(
        report,
        sender="tlsrpt@google.test",
        recipient="reports@example.test",
        submitter="google.test",
        date=NOW,
        message_id="<1@google.test>",
    )
    reading = read_mail(raw, now=NOW)
    assert reading.reports == (report,)
    assert check_strict(reading) == ()
    assert reading.mail is not None
    assert (reading.mail.tls_report_domain, reading.mail.tls_report_submitter) == (
        "example.test",
        "google.test",
    )


def test_r4_the_same_content_has_one_hash_whatever_its_order_and_spacing() -> None:
    first = report_json()
    turned = dict(reversed(list(first.items())))
    texts = (json.dumps(first), json.dumps(turned, indent=3))
    one, other = (read_bytes(text.encode()).reports[0] for text in texts)
    assert content_hash(one) == content_hash(other)
    changed = read_bytes(json.dumps(report_json(failed=4)).encode()).reports[0]
    assert content_hash(changed) != content_hash(one)


def test_r3_the_body_wins_over_subject_and_header() -> None:
    reading = read_mail(google_mail(report_json("other.test"), report_domain="example.test"), now=NOW)
    assert reading.reports[0].policies[0].policy.policy_domain == "other.test"
    assert "header-domain-mismatch" in {deviation.slug for deviation in reading.deviations}


def test_r3_the_body_wins_over_the_file_name() -> None:
    raw = google_mail(report_json())
    reading = read_mail(raw.replace(b"!example.test!", b"!victim.test!"), now=NOW)
    assert reading.reports == read_mail(raw, now=NOW).reports
    assert [deviation.slug for deviation in reading.deviations] == ["filename-mismatch"]


def test_r3_the_subject_decides_nothing() -> None:
    raw = google_mail(report_json())
    subject = next(line for line in raw.split(b"\r\n") if line.startswith(b"Subject: "))
    forged = b"Subject: Report Domain: victim.test Submitter: other.test Report-ID: <x@other.test>"
    assert read_mail(raw.replace(subject, forged), now=NOW) == read_mail(raw, now=NOW)


def test_r4_the_report_is_found_by_its_media_type_and_the_other_parts_are_ignored() -> None:
    decoy = json.dumps(report_json("decoy.test")).encode()
    parts = [
        (b"text/plain", b"Hello"),
        (b"application/json", decoy),
        (b"text/plain; name=report.json", decoy),
        (b"application/tlsrpt+json", json.dumps(report_json()).encode()),
        (b"application/octet-stream; name=report.json", decoy),
    ]
    body = b"".join(b"--x\r\nContent-Type: %b\r\n\r\n%b\r\n" % part for part in parts)
    head = b"From: a@google.test\r\nDate: Tue, 24 Nov 2026 00:00:00 +0000\r\n"
    kind = b"Content-Type: multipart/report; report-type=tlsrpt; boundary=x\r\n\r\n"
    reading = read_mail(head + kind + body + b"--x--\r\n", now=NOW)
    assert reading.reports == read_bytes(json.dumps(report_json()).encode()).reports
    assert reading.deviations == ()


@given(st.data())
def test_whatever_was_read_is_written_so_that_it_reads_the_same(data: st.DataObject) -> None:
    report = report_json()
    for _ in range(data.draw(st.integers(1, 4))):
        found = places(report)
        container, key = found[data.draw(st.integers(0, len(found) - 1))]
        container[key] = data.draw(VALUES)
    (first,) = read_bytes(
        # two keys that stay, by which what was written is a report still
        json.dumps(
            report | {"report-id": "a", "contact-info": "b", "policies": report.get("policies")}
        ).encode()
    ).reports
    written = serialise_report(first)
    (again,) = read_bytes(written).reports
    assert serialise_report(again) == written
    if all(pattern.isascii() for result in first.policies for pattern in result.policy.mx_host):
        assert again == first  # otherwise the patterns have become A-labels


def test_a_key_that_stands_twice_is_noticed_in_a_mail_too() -> None:
    text = json.dumps(report_json()).replace('"report-id":', '"report-id": "forged", "report-id":')
    reading = read_bytes(text.encode())
    assert [deviation.slug for deviation in reading.deviations] == ["duplicate-keys"]
