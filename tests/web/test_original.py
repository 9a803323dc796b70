"""The sender's own JSON, found in whatever it came in and laid out."""

import gzip
import json

import pytest
from tests.fakes.signer import google_mail, report_json

from mailward.web.pages.reports.original import lay_out, show_original

ID = "2026-11-23T00:00:00Z_example.test"
PLAIN = json.dumps(report_json(report_id=ID)).encode()


@pytest.mark.parametrize(
    "content",
    [PLAIN, b"\xef\xbb\xbf" + PLAIN, gzip.compress(PLAIN), google_mail(report_json(report_id=ID))],
    ids=["plain", "with a byte order mark", "gzip", "mail"],
)
def test_the_json_is_found(content: bytes) -> None:
    original = show_original(content, report_id=ID, parsed=b"{}")
    assert original.is_as_sent
    assert json.loads(original.text) == json.loads(PLAIN)


def test_what_cannot_be_found_is_shown_as_it_was_read() -> None:
    original = show_original(b"\x1f\x8bbroken", report_id=ID, parsed=b'{"report-id":"1"}')
    assert (original.text, original.is_as_sent) == ('{\n  "report-id": "1"\n}', False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}'),  # duplicates stay
        ('{"n":1.0e5}', '{\n  "n": 1.0e5\n}'),  # numbers as written
        ('["\\u00e9 [,]"]', '[\n  "\\u00e9 [,]"\n]'),  # brackets inside of text are text
        ('{"a":{},"b":[]}', '{\n  "a": {},\n  "b": []\n}'),  # empty stays on its line
        ('{"a":"b', '{\n  "a": "b'),  # cut off
        ("}}]", "\n}\n}\n]"),  # nonsense
    ],
)
def test_only_the_space_between_changes(text: str, shown: str) -> None:
    assert lay_out(text) == (shown, False)


def test_what_is_long_is_cut() -> None:
    text, is_cut = lay_out(json.dumps(list(range(10_000))), limit=100)
    assert (len(text), is_cut) == (100, True)


def test_deep_nesting_costs_no_width() -> None:
    text, _ = lay_out("[" * 10_000, limit=1_000_000)
    assert len(text) < 10_000 * 50
