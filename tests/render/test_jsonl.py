"""The machine format: one line per file, the same keys in each."""

import json

from tests.fakes.signer import google_mail, report_json

from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.mail import read_mail
from mailward.core.tlsrpt.read import read_bytes
from mailward.render.jsonl import jsonl_row, write_jsonl

DETAIL = {
    "result-type": "certificate-expired",
    "sending-mta-ip": "192.0.2.1",
    "failed-session-count": 2,
    "failure-reason-code": "X509_V_ERR_CERT_HAS_EXPIRED",
    "additional-information": "https://google.test/1",
    "receiving-mx-helo": "mx",
}


def test_a_report_is_one_row_with_all_its_values() -> None:
    report = report_json(failed=None, details=[DETAIL])
    assert jsonl_row("a.json", read_bytes(json.dumps(report).encode())) == {
        "file": "a.json",
        "outcome": "reports",
        "reason": None,
        "reports": [
            {
                "organization": "Google Inc.",
                "report_id": "2026-11-23T00:00:00Z_example.test",
                "start": "2026-11-23T00:00:00Z",
                "end": "2026-11-23T23:59:59Z",
                "policies": [
                    {
                        "type": "sts",
                        "domain": "example.test",
                        "ok": 100,
                        "failed": None,  # unknown, which is not 0
                        "details": [
                            {
                                "result_type": "certificate-expired",
                                "count": 2,
                                "sending_mta_ip": "192.0.2.1",
                                "receiving_mx_hostname": None,
                                "extra": {
                                    "receiving_mx_helo": "mx",
                                    "failure_reason_code": "X509_V_ERR_CERT_HAS_EXPIRED",
                                    "additional_information": "https://google.test/1",
                                },
                            }
                        ],
                        "extra": {
                            "policy_string": (
                                "version: STSv1",
                                "mode: enforce",
                                "mx: mx.example.test",
                                "max_age: 86400",
                            ),
                            "mx_host": ("mx.example.test",),
                        },
                    }
                ],
                "extra": {"contact_info": "smtp-tls-reporting@google.test"},
            }
        ],
        "deviations": ["missing-failure-count", "missing-receiving-mx-hostname"],
    }


def test_what_is_rejected_is_a_row_with_its_reason() -> None:
    assert jsonl_row("b", Unreadable("no-report", "the mail has no report")) == {
        "file": "b",
        "outcome": "rejected",
        "reason": "the mail has no report",
        "reports": [],
        "deviations": ["no-report"],
    }


def test_each_row_is_one_line_whatever_strangers_write() -> None:
    reading = read_mail(google_mail(report_json(organization="a\nb\u2028c\x00", report_id="1")))
    lines = write_jsonl([jsonl_row("a\nb", reading)] * 2).split(b"\n")
    assert lines[0] == lines[1]
    assert json.loads(lines[0])["reports"][0]["organization"] == "a\nb\u2028c\x00"
    assert lines[2:] == [b""]
