from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.vectors import load_cases

from mailward.core.mtasts.record import (
    NoRecord,
    Record,
    RecordError,
    RecordInvalid,
    SeveralRecords,
    parse_record,
    serialise_record,
)

ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@pytest.mark.parametrize(
    "txt, expected, why",
    [
        (b"v=STSv1; id=20160831085700Z;", Record("20160831085700Z"), "the RFC's example"),
        (b"v=STSv1;id=1", Record("1"), "no white space, no last semicolon"),
        (b"v=STSv1 \t; id=a", None, "erratum 6285: fits the ABNF, discarded by the text"),
        (b"v=STSv1; \t id=a \t; \t", Record("a"), "white space around semicolons"),
        (b"v=STSv1; more=x; id=a", Record("a", (("more", "x"),)), "any order after v"),
        (b"v=STSv1; id=a; x-y_z.1=~!#<>:", Record("a", (("x-y_z.1", "~!#<>:"),)), "extension characters"),
        (b"v=STSv1; id=a; v=STSv2", Record("a", (("v", "STSv2"),)), "a later v is some unknown field"),
    ],
)
def test_p1_fields_between_semicolons_after_the_version(
    txt: bytes, expected: Record | None, why: str
) -> None:
    if expected is None:
        with pytest.raises(NoRecord):
            parse_record([txt])
    else:
        assert parse_record([txt]) == expected, why


@pytest.mark.parametrize(
    "txt, code, why",
    [
        (b"v=STSv1;", "no-fields", "version alone"),
        (b"v=STSv1; ;id=a", "empty-field", "nothing between semicolons"),
        (b"v=STSv1; id=a;;", "empty-field", "two at the end"),
        (b"v=STSv1; id=a ", "field-syntax", "white space without a semicolon after it"),
        (b"v=STSv1; id=a; ext=b=c", "field-syntax", "'=' in the value"),
        (b"v=STSv1; id=a; ext=has space", "field-syntax", "space in the value"),
        (b"v=STSv1; id=a; ext=", "field-syntax", "empty value"),
        (b"v=STSv1; id=a; _ext=b", "field-syntax", "name begins with an underscore"),
        (b"v=STSv1; id=a; " + b"n" * 33 + b"=b", "field-syntax", "name of 33"),
        (b"v=STSv1; id=a; bogus", "field-syntax", "no '='"),
        (b"v=STSv1; id=a; note=caf\xc3\xa9", "not-ascii", "not US-ASCII"),
        (b"v=STSv1; id=a; n=\x00", "field-syntax", "control character"),
        (b"v=STSv1; id=a\n", "field-syntax", "line end"),
        (b"v=STSv1; id=a; x=" + b"y" * 70_000, "too-large", "larger than DNS can carry"),
    ],
)
def test_p1_what_the_grammar_does_not_allow_is_invalid(txt: bytes, code: str, why: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        parse_record([txt])
    assert caught.value.code in (code, "id-syntax"), why


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(RecordInvalid) as caught:
        parse_record([b"v=STSv1; id=2024-09-03; ; note=has space; ok=1; rua"])
    every = (caught.value, *caught.value.others)
    assert [(each.code, each.field) for each in every] == [
        ("id-syntax", "id"),
        ("empty-field", None),
        ("field-syntax", "note"),
        ("field-syntax", "rua"),
    ]
    assert {each.section for each in every} == {"RFC 8461 section 3.1"}
    assert str(caught.value).endswith("; and 1 more")


def test_a_record_of_nothing_but_faults_tells_a_bounded_number() -> None:
    with pytest.raises(RecordInvalid) as caught:
        parse_record([b"v=STSv1;" + b";" * 60_000])
    assert len(caught.value.others) < 20


@pytest.mark.parametrize(
    "txt, code",
    [
        (b"v=STSv1; ext=1", "id-missing"),
        (b"v=STSv1; ID=a", "id-missing"),  # names have case: ID is an extension
        (b"v=STSv1; id=", "id-syntax"),
        (b"v=STSv1; id=2024-01-01", "id-syntax"),
        (b"v=STSv1; id=" + b"a" * 33, "id-syntax"),
        ("v=STSv1; id=é".encode(), "not-ascii"),
    ],
)
def test_p2_the_id_is_1_to_32_letters_and_digits(txt: bytes, code: str) -> None:
    with pytest.raises(RecordInvalid) as caught:
        parse_record([txt])
    assert (caught.value.code, caught.value.section) == (code, "RFC 8461 section 3.1")


def test_p2_an_id_of_32_is_taken() -> None:
    assert parse_record([b"v=STSv1; id=" + b"a" * 32]) == Record("a" * 32)


def test_p3_other_txt_records_are_passed_over() -> None:
    assert parse_record([b"v=spf1 -all", b"v=STSv1; id=a", b"", b"\xff"]) == Record("a")


def test_p3_two_records_hide_each_other_whatever_their_syntax() -> None:
    with pytest.raises(SeveralRecords) as caught:
        parse_record([b"v=STSv1; id=a", b"v=STSv1; bogus"])
    assert caught.value.count == 2


@pytest.mark.parametrize(
    "txt",
    [
        b"v=STSv1",
        b"v=STSv2; id=a",
        b"V=STSv1; id=a",
        b" v=STSv1; id=a",
        b'"v=STSv1; id=a"',
        b"id=a; v=STSv1;",
    ],
)
def test_p3_a_record_that_does_not_begin_with_the_version_is_none(txt: bytes) -> None:
    with pytest.raises(NoRecord):
        parse_record([txt])
    with pytest.raises(NoRecord):
        parse_record([])


def test_s4_the_first_of_duplicated_fields_wins() -> None:
    assert parse_record([b"v=STSv1; id=a; id=b; x=1; x=2"]) == Record("a", (("x", "1"),))
    assert parse_record([b"v=STSv1; id=a; id=not-an-id"]) == Record("a")
    with pytest.raises(RecordInvalid):
        parse_record([b"v=STSv1; id=not-an-id; id=a"])


names = st.text(ALNUM + "_-.", max_size=31).map(lambda rest: "x" + rest).filter(lambda name: name != "id")
values = st.text([chr(code) for code in range(0x21, 0x7F) if chr(code) not in ";="], min_size=1)
records = st.builds(
    Record,
    st.text(ALNUM, min_size=1, max_size=32),
    st.dictionaries(names, values, max_size=5).map(lambda fields: tuple(fields.items())),
)


@given(records)
def test_any_record_survives_a_round_trip(record: Record) -> None:
    assert parse_record([serialise_record(record).encode()]) == record


@pytest.mark.parametrize(
    "record",
    [
        Record(""),
        Record("a-b"),
        Record("é"),
        Record("a", (("x", "a;b"),)),
        Record("a", (("x", "1"), ("x", "2"))),
    ],
)
def test_a_record_that_nobody_could_read_is_not_written(record: Record) -> None:
    with pytest.raises(RecordInvalid):
        serialise_record(record)


@given(st.lists(st.binary() | st.binary().map(b"v=STSv1;".__add__), max_size=3))
def test_any_bytes_give_a_record_or_the_typed_error(txts: list[bytes]) -> None:
    with suppress(RecordError):
        parse_record(txts)


def test_s2_agrees_with_the_shared_vectors() -> None:
    for case in load_cases("mta-sts-txt.json"):
        try:
            # S2: character-strings are joined without spaces
            outcome, policy_id = (
                "valid",
                parse_record([b"".join(map(str.encode, rr)) for rr in case["txt"]]).policy_id,
            )
        except RecordInvalid:
            outcome, policy_id = "invalid", None
        except RecordError:
            outcome, policy_id = "none", None
        assert (outcome, policy_id) == (case["expect"], case.get("policy_id")), case
