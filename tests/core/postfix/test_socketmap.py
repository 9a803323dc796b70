import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.postfix.socketmap import (
    Dialect,
    Query,
    QueryError,
    dialect_of,
    ok,
    parse_query,
    perm,
    temp,
    timeout,
)


def test_a_question_is_a_map_name_and_a_key() -> None:
    assert parse_query(b"QUERY ok.test") == Query("QUERY", b"ok.test")


def test_the_key_is_kept_byte_for_byte() -> None:
    assert parse_query(b"QUERY b\xc3\xbccher. x ").key == b"b\xc3\xbccher. x "


@pytest.mark.parametrize("payload", [b"", b"QUERY", b" key", b"Q\xc3\xbc key", b"Q\x00 key"])
def test_what_is_no_question_is_refused(payload: bytes) -> None:
    with pytest.raises(QueryError):
        parse_query(payload)


@pytest.mark.parametrize(
    "name, dialect",
    [
        ("QUERY", Dialect.PLAIN),
        ("postfix", Dialect.PLAIN),
        ("QUERYwithTLSRPT", Dialect.TLSRPT),
        ("querywithtlsrpt", Dialect.TLSRPT),
    ],
)
def test_the_map_name_chooses_the_dialect(name: str, dialect: Dialect) -> None:
    assert dialect_of(name) is dialect


def test_replies_begin_with_their_status() -> None:
    replies = [ok(b"secure"), temp("DNS"), timeout("late"), perm("no")]
    assert replies == [b"OK secure", b"TEMP DNS", b"TIMEOUT late", b"PERM no"]


@given(st.text())
def test_a_reason_stays_one_short_line(reason: str) -> None:
    reply = temp(reason)
    assert len(reply) <= len(b"TEMP ") + 200
    assert reply.decode("ascii").isprintable()


@given(st.binary(max_size=300))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    try:
        query = parse_query(payload)
    except QueryError:
        return
    assert query.map_name.encode() + b" " + query.key == payload
