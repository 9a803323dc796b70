import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.names import Domain
from mailward.core.sending.overrides import (
    Action,
    Override,
    OverridesInvalid,
    find_override,
    parse_overrides,
)

UNTIL = dt.date(2027, 1, 31)
GOOD = """
[[override]]
domain = "Partner.example"
action = "require"
match = ["mx.partner.example", "*.partner.example"]
reason = "contract 2026-17"
until = 2027-01-31
"""


def entry(**changes: str) -> str:
    values = {"domain": '"a.example"', "action": '"ignore"', "reason": '"x"', "until": "2027-01-31"} | changes
    return "[[override]]\n" + "".join(f"{key} = {value}\n" for key, value in values.items() if value)


def test_an_entry_is_read() -> None:
    expected = Override(
        "partner.example",
        Action.REQUIRE,
        "contract 2026-17",
        UNTIL,
        ("mx.partner.example", "*.partner.example"),
    )
    assert parse_overrides(GOOD) == (expected,)


def test_an_empty_file_has_none() -> None:
    assert parse_overrides("") == ()


MISTAKES = [
    (entry(reason=""), "reason", "no reason"),
    (entry(reason='"  "'), "reason", "an empty reason"),
    (entry(until=""), "until", "no end"),
    (entry(until='"2027-01-31"'), "until", "a date in quotes"),
    (entry(until="2027-01-31T00:00:00"), "until", "a time"),
    (entry(action='"allow"'), "action", "an unknown action"),
    (entry(domain=""), "domain", "no domain"),
    (entry(domain='"*.*.example"'), "domain", "a pattern that is none"),
    (entry(match='["a.example"]'), "match", "ignore matches nothing"),
    (entry(action='"pin"'), "match", "pin without hosts"),
    (entry(action='"require"', match='["a.example tafile=/x"]'), "match", "an attribute"),
    (entry(action='"require"', match='"a.example"'), "match", "no list"),
    (entry(action='"relax"', level='"none"'), "level", "a level that is less than nothing"),
    (entry(comment='"x"'), "comment", "an unknown key"),
    ("override = 1", "override", "no table"),
    ("[override]\n", "override", "one table"),
    ("[[overide]]\n", "overide", "an unknown table"),
    ("[[override", "TOML", "no TOML"),
]


@pytest.mark.parametrize("text, named, reason", MISTAKES, ids=[row[2] for row in MISTAKES])
def test_mistakes_are_refused_and_named(text: str, named: str, reason: str) -> None:
    with pytest.raises(OverridesInvalid, match=named):
        parse_overrides(text)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(OverridesInvalid) as caught:
        parse_overrides(entry(reason="") + entry() + entry(until=""))
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["entry 1", "entry 3"]


def override(domain: str, until: dt.date = UNTIL) -> Override:
    return Override(domain, Action.IGNORE, "x", until)


def test_the_domain_s_own_comes_before_a_pattern_s() -> None:
    overrides = (override("*.example"), override("a.example"))
    assert find_override(overrides, Domain("a.example"), UNTIL) == overrides[1]
    assert find_override(overrides, Domain("b.example"), UNTIL) == overrides[0]
    assert find_override(overrides, Domain("a.b.example"), UNTIL) is None


def test_it_holds_to_the_end_of_its_last_day() -> None:
    assert find_override([override("a.example")], Domain("a.example"), UNTIL)
    assert find_override([override("a.example")], Domain("a.example"), UNTIL + dt.timedelta(days=1)) is None


@given(st.text(max_size=100) | st.text(alphabet='[]overid=" \n.*0123', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(OverridesInvalid):
        assert parse_overrides(text) == ()
