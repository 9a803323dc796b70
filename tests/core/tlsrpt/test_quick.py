"""The quick way from JSON to values gives what the lenient reader gives, or gives up."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.reports import REPORTS
from tests.fakes.signer import report_json

from mailward.core.tlsrpt.deviations import Deviation, Notes
from mailward.core.tlsrpt.documents import read_document, read_leniently
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import DEFAULT_LIMITS, Limits
from mailward.core.tlsrpt.quick import quick_report
from mailward.core.tlsrpt.schema import Report
from mailward.core.tlsrpt.write import serialise_report

USUAL = json.dumps(report_json()).encode()


def both_ways(data: bytes) -> list[tuple[tuple[Report, ...] | str, tuple[Deviation, ...]]]:
    outcomes: list[tuple[tuple[Report, ...] | str, tuple[Deviation, ...]]] = []
    for read in (read_document, read_leniently):
        notes = Notes()
        try:
            outcomes.append((read(data, notes, DEFAULT_LIMITS), notes.all()))
        except Unreadable as error:
            outcomes.append((str(error), ()))
    return outcomes


@given(REPORTS, st.booleans(), st.sampled_from([None, 0, 3]))
def test_any_conforming_report_reads_the_same_both_ways(
    report: Report, ascii_only: bool, indent: Any
) -> None:
    data = json.dumps(json.loads(serialise_report(report)), ensure_ascii=ascii_only, indent=indent).encode()
    quick, lenient = both_ways(data)
    assert quick == lenient
    assert quick[0] == (report,)


PIECES = [
    b'"', b"\\", b"\\\\", b'\\"', b":", b" : ", b",", b"{", b"}", b"[", b"]", b"null", b'""', b"[]", b"{}", b"-", b"0",
    b'"policy-type":"sts",', b'"failed-session-count" :1,', b'"sending-mta-ip":null,', b'"mx-host":[],', b"\\u003a",
    b"\\u0022", b"\\n", b"\n", b"1.0", b"1e2", b"\xc3\xbc", b"\xff", b"\\ud800", b"A", b".", b"+02:00", b"::",
    b"::ffff:",
]  # fmt: skip


@given(REPORTS, st.data())
def test_any_damaged_report_reads_the_same_both_ways(report: Report, data: st.DataObject) -> None:
    text = serialise_report(report)
    for _ in range(data.draw(st.integers(1, 3))):
        at, cut = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 3))
        text = text[:at] + data.draw(st.sampled_from(PIECES)) + text[at + cut :]
    quick, lenient = both_ways(text)
    assert quick == lenient


def test_a_usual_report_goes_the_quick_way() -> None:
    assert quick_report(USUAL, DEFAULT_LIMITS) is not None


DOUBLED = {
    "a value before": ('"report-id":', '"report-id": "forged", "report-id":'),
    "a blank before the colon": ('"report-id":', '"report-id" : "forged", "report-id":'),
    "an escape in the key": ('"report-id":', r'"report-\u0069d": "forged", "report-id":'),
    "an escaped mark in the value": ('"report-id":', r'"report-id": "\"", "report-id":'),
    "escaped backslashes in values": ('"report-id":', r'"report-id": "\\", "report-id": "a\\", "report-id":'),
    "a number": ('"failed-session-count":', '"failed-session-count": 9, "failed-session-count":'),
    "an object": ('"summary":', '"summary": {}, "summary":'),
    "a list that is empty": ('"mx-host":', '"mx-host": [], "mx-host":'),
    "nothing": ('"receiving-ip":', '"receiving-ip": null, "receiving-ip":'),
}


@pytest.mark.parametrize(("old", "new"), DOUBLED.values(), ids=DOUBLED.keys())
def test_a_doubled_key_is_noticed_however_it_is_written(old: str, new: str) -> None:
    data = USUAL.decode().replace(old, new, 1).encode()
    notes = Notes()
    (report,) = read_document(data, notes, DEFAULT_LIMITS)
    assert "duplicate-keys" in {each.slug for each in notes.all()}
    assert report.report_id == "2026-11-23T00:00:00Z_example.test"


@pytest.mark.parametrize("limits", [Limits(max_depth=3), Limits(max_values=10)])
def test_limits_hold_on_the_quick_way_too(limits: Limits) -> None:
    with pytest.raises(Unreadable):
        read_document(USUAL, Notes(), limits)


def test_a_report_of_a_million_odd_values_gets_a_thousand_notes_and_a_count_of_the_rest() -> None:
    details = [{"result-type": "tlsa-invalid", "failed-session-count": 1}] * 3000
    notes = Notes()
    read_document(json.dumps(report_json(failed=3000, details=details)).encode(), notes, DEFAULT_LIMITS)
    found = notes.all()
    assert len(found) < 1010
    assert (
        sum(1 for each in found if each.where != "elsewhere")
        + sum(int(each.value.split()[0]) for each in found if each.where == "elsewhere")
        == 6000
    )
