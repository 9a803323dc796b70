"""The records as files: read again by dnspython's zone parser and by csv."""

import csv
import io
from dataclasses import replace

import dns.zone
import pytest
from tests.monitor.test_records import DELEGATED, FACTS

from mailward.core.names import Domain
from mailward.monitor.expected import RecordData, expected_records
from mailward.monitor.writing import Form, Line, write, zone_line

LINES = [Line("example.test", record, "missing", "expected CNAME") for record in expected_records(FACTS)]


def as_zone(text: str) -> dns.zone.Zone:
    head = "$ORIGIN example.test.\n@ 60 IN SOA ns h 1 2 3 4 5\n@ 60 IN NS ns\n"
    return dns.zone.from_text(head + text, origin="example.test.", check_origin=False)


def test_the_zone_form_is_read_by_another_parser() -> None:
    zone = as_zone("".join(write(Form.ZONE, LINES)))
    assert str(zone.find_rdataset("mta-sts", "CNAME")[0]) == "policy.provider.test."
    assert zone.find_rdataset("_mta-sts", "TXT")[0].strings == (b"v=STSv1; id=20261124;",)
    assert zone.find_rdataset("_mailward-challenge", "TXT")[0].strings == (b"mailward-claim=t0ken",)


@pytest.mark.parametrize("text", ['quoted " and \\ back', "x" * 600, "semi; colon"])
def test_any_text_is_quoted_as_the_rfc_says(text: str) -> None:
    record = replace(LINES[2].record, recommended=RecordData("TXT", text))
    strings = as_zone(zone_line(record)).find_rdataset("_mta-sts", "TXT")[0].strings
    assert b"".join(strings).decode() == text


def test_the_csv_has_a_row_for_each_record_and_no_formula() -> None:
    hostile = replace(LINES[0], seen=("=cmd()", "x"), asked="2026-11-30T00:00:00+00:00")
    rows = list(csv.DictReader(io.StringIO("".join(write(Form.CSV, [hostile, *LINES[1:]])))))
    assert [row["name"] for row in rows] == [line.record.name for line in LINES]
    assert rows[0]["seen"].startswith("'=")
    assert (rows[1]["type"], rows[1]["value"], rows[1]["state"]) == (
        "CNAME",
        "policy.provider.test",
        "missing",
    )


def test_the_text_form_is_for_people() -> None:
    facts = replace(DELEGATED, name=Domain("two.test"))
    lines = [LINES[1], Line("two.test", expected_records(facts)[1])]
    assert "".join(write(Form.TEXT, lines)) == (
        "example.test\n"
        "  Name:  mta-sts.example.test\n  Type:  CNAME\n  Value: policy.provider.test\n"
        "  Now:   missing (expected CNAME)\n"
        "\ntwo.test\n"
        "  Name:  mta-sts.two.test\n  Type:  CNAME\n  Value: mta-sts.tok3n.sts.test\n"
        "  Now:   not asked yet\n"
    )
