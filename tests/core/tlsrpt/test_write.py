"""What we write is what the RFC says, and is read back as it was, for any report."""

import gzip
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.reports import CONTACT_DOMAIN, REPORTS
from tests.fakes.signer import report_json

from mailward.core.tlsrpt.compose import write_field
from mailward.core.tlsrpt.errors import Unwritable
from mailward.core.tlsrpt.mail import build_mail, read_mail
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import check_strict
from mailward.core.tlsrpt.schema import DateRange, Policy, PolicyResult, Report
from mailward.core.tlsrpt.verdict import total_by_type
from mailward.core.tlsrpt.write import serialise_report

DATE = datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC)
(USUAL,) = read_bytes(json.dumps(report_json()).encode()).reports
OPTIONS: dict[str, Any] = {
    "sender": "tlsrpt@google.test",
    "recipient": "reports@example.test",
    "submitter": "google.test",
    "date": DATE,
    "message_id": "<1@google.test>",
}
MAIL = message_from_bytes(build_mail(USUAL, **OPTIONS), policy=policy.default)


@given(REPORTS)
def test_what_is_written_is_read_back_and_conforms(report: Report) -> None:
    reading = read_bytes(serialise_report(report))
    assert reading.reports == (report,)
    assert check_strict(reading) == ()


@given(REPORTS, st.booleans())
def test_a_report_goes_through_a_mail_unchanged(report: Report, compressed: bool) -> None:
    report = msgspec.structs.replace(report, report_id="id-" + (report.report_id or ""))
    raw = build_mail(report, **(OPTIONS | {"submitter": CONTACT_DOMAIN}), compressed=compressed)
    reading = read_mail(raw)
    assert reading.reports == (report,)
    assert check_strict(reading) == ()
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998  # RFC 5322 §2.1.1
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_g6_policies_is_a_list_even_of_one() -> None:
    policies = json.loads(serialise_report(USUAL))["policies"]
    assert isinstance(policies, list)
    assert [each["policy"]["policy-type"] for each in policies] == ["sts"]


def test_g6_each_applied_policy_has_an_entry_and_types_are_never_added_up() -> None:
    (sts,) = USUAL.policies
    tlsa = Policy(policy_type="tlsa", policy_domain="mx.example.test", policy_string=("3 1 1 00",))
    both = msgspec.structs.replace(USUAL, policies=(sts, msgspec.structs.replace(sts, policy=tlsa)))
    (again,) = read_bytes(serialise_report(both)).reports
    assert [each.policy.policy_type for each in again.policies] == ["sts", "tlsa"]
    assert [(total.policy_type, total.ok, total.failed) for total in total_by_type(again.policies)] == [
        ("sts", 100, 3),
        ("tlsa", 100, 3),
    ]


def test_g9_names_are_written_as_a_labels() -> None:
    odd = Policy(
        policy_type="sts", policy_domain="bücher.example", mx_host=("*.bücher.example", "MX.example")
    )
    written = json.loads(serialise_report(Report(policies=(PolicyResult(policy=odd),))))["policies"][0][
        "policy"
    ]
    assert written["policy-domain"] == "xn--bcher-kva.example"
    assert written["mx-host"] == ["*.xn--bcher-kva.example", "MX.example"]


def test_g9_header_and_file_name_have_a_labels_too() -> None:
    odd = Policy(policy_type="sts", policy_domain="bücher.example")
    report = msgspec.structs.replace(USUAL, policies=(PolicyResult(policy=odd),))
    mail = message_from_bytes(build_mail(report, **OPTIONS), policy=policy.default)
    assert mail["TLS-Report-Domain"] == "xn--bcher-kva.example"
    (part,) = mail.iter_attachments()
    assert (part.get_filename() or "").startswith("google.test!xn--bcher-kva.example!")


def test_times_are_written_in_utc_with_z() -> None:
    start = datetime(2026, 8, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    written = json.loads(serialise_report(Report(date_range=DateRange(start_datetime=start))))
    assert written == {"date-range": {"start-datetime": "2026-08-01T00:00:00Z"}}


def test_what_is_unknown_is_left_out_not_made_up() -> None:
    assert serialise_report(Report()) == b"{}"


@pytest.mark.parametrize(("compressed", "end"), [(True, ".json.gz"), (False, ".json")])
def test_g10_the_file_is_named_after_sender_domain_and_period(compressed: bool, end: str) -> None:
    mail = message_from_bytes(build_mail(USUAL, **OPTIONS, compressed=compressed), policy=policy.default)
    name = next(iter(mail.iter_attachments())).get_filename() or ""
    # RFC 8460 §5.1: begin and end in epoch seconds, the unique id of letters and digits
    assert re.fullmatch(
        r"google\.test!example\.test!1795392000!1795478399![A-Za-z0-9]+" + re.escape(end), name
    )


def test_g11_the_report_is_compressed_with_gzip() -> None:
    (part,) = MAIL.iter_attachments()
    assert json.loads(gzip.decompress(part.get_content())) == json.loads(serialise_report(USUAL))


def test_g12_the_mail_is_a_multipart_report_with_a_part_for_people_and_one_for_programs() -> None:
    assert MAIL.get_content_type() == "multipart/report"
    assert MAIL.get_param("report-type") == "tlsrpt"
    kinds = [part.get_content_type() for part in MAIL.iter_parts()]
    assert kinds == ["text/plain", "application/tlsrpt+gzip"]
    plain = message_from_bytes(build_mail(USUAL, **OPTIONS, compressed=False), policy=policy.default)
    assert [part.get_content_type() for part in plain.iter_parts()][1] == "application/tlsrpt+json"


def test_g13_domain_and_submitter_are_named_in_the_header() -> None:
    assert (MAIL["TLS-Report-Domain"], MAIL["TLS-Report-Submitter"]) == ("example.test", "google.test")


def test_g13_the_submitter_is_the_domain_of_the_contact() -> None:
    with pytest.raises(Unwritable) as raised:
        build_mail(USUAL, **(OPTIONS | {"submitter": "other.test"}))
    assert raised.value.field == "contact-info"


def test_g14_the_subject_names_domain_submitter_and_id() -> None:
    # the ABNF of RFC 8460 §5.3, where FWS may be a fold
    subject = r"Report Domain: example\.test Submitter: google\.test Report-ID: <[^@<>\s]+@google\.test>"
    assert re.fullmatch(subject, MAIL["Subject"])


def test_g14_a_long_subject_is_folded() -> None:
    domain = "a-rather-long-name.of-a-department.in-a-larger-organisation.example.test"
    report = read_bytes(json.dumps(report_json(domain)).encode()).reports[0]
    raw = build_mail(report, **OPTIONS)
    head = raw.partition(b"\r\n\r\n")[0]
    assert max(len(line) for line in head.split(b"\r\n")) <= 100
    assert message_from_bytes(raw, policy=policy.default)["Subject"].startswith(f"Report Domain: {domain} ")


INJECTIONS = {
    "a line end in the sender": {"sender": "a@b.test\r\nBcc: x@y.test"},
    "a lone line feed in the recipient": {"recipient": "a@b.test\nBcc: x@y.test"},
    "a line end in the Message-ID": {"message_id": "<1@b.test>\r\nX: y"},
    "two recipients": {"recipient": "a@b.test, c@d.test"},
    "a line end in a further field": {"extra_headers": [("X-A", "1\r\nBcc: x@y.test")]},
    "a line end in a further name": {"extra_headers": [("X-A: 1\r\nBcc", "x@y.test")]},
    "a colon in a further name": {"extra_headers": [("X-A:", "1")]},
    "a carriage return alone": {"extra_headers": [("X-A", "1\rBcc: x@y.test")]},
    "letters outside ASCII": {"extra_headers": [("X-A", "ü")]},
    "a submitter that is no name": {"submitter": "google.test\r\nX: y"},
}


@pytest.mark.parametrize("options", INJECTIONS.values(), ids=INJECTIONS.keys())
def test_no_value_can_start_a_header_field(options: dict[str, Any]) -> None:
    with pytest.raises(Unwritable):
        build_mail(USUAL, **(OPTIONS | options))


@given(st.text(min_size=1, max_size=60))
def test_no_report_id_can_start_a_header_field(report_id: str) -> None:
    try:
        raw = build_mail(msgspec.structs.replace(USUAL, report_id=report_id), **OPTIONS)
    except Unwritable:
        return
    names = [line.partition(b":")[0] for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n")]
    assert len([name for name in names if not name.startswith(b" ")]) == len(MAIL.keys())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"report_id": None}, "report-id"),
        ({"date_range": DateRange()}, "date-range"),
        ({"policies": ()}, "policies"),
        ({"contact_info": None}, "contact-info"),
    ],
)
def test_a_report_without_what_a_mail_needs_says_what_is_missing(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(Unwritable) as raised:
        build_mail(msgspec.structs.replace(USUAL, **changes), **OPTIONS)
    assert raised.value.field == field


def test_a_field_is_folded_at_its_blanks_and_unfolds_to_itself() -> None:
    value = " ".join(["word"] * 60)
    written = write_field("X-Long", value)
    assert max(map(len, written.split("\r\n"))) <= 78
    assert written.replace("\r\n", "") == f"X-Long: {value}"
