import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.postfix.netstring import NetstringError, encode, split_frames

WHOLE = [
    (b"", [], 0, "nothing yet"),
    (b"13:QUERY ok.test,", [b"QUERY ok.test"], 17, "as Postfix sends it"),
    (b"0:,", [b""], 3, "an empty one"),
    (b"1:a,1:b,", [b"a", b"b"], 8, "two at once"),
    (b"1:a,13:QUERY o", [b"a"], 4, "the second is not whole"),
    (b"13:QUERY ok.test", [], 0, "its comma has not come"),
    (b"1", [], 0, "its length may go on"),
    (b"3:a:,,", [b"a:,"], 6, "what is inside does not count"),
]


@pytest.mark.parametrize("buffer, payloads, used, reason", WHOLE, ids=[row[3] for row in WHOLE])
def test_whole_frames_are_taken(buffer: bytes, payloads: list[bytes], used: int, reason: str) -> None:
    assert split_frames(buffer, 100) == (payloads, used)


BROKEN = [
    (b"GET / HTTP/1.1\r\n", "another protocol"),
    (b":,", "no length"),
    (b"-1:a,", "a sign"),
    (b"01:a,", "a leading zero: two spellings of one length"),
    (b"1:ab", "longer than it says"),
    (b"101:", "longer than allowed"),
    (b"99999999", "a length that cannot become a good one"),
    (b"\xd9\xa3:abc,", "digits of another script"),
    (b"1 :a,", "a space"),
]


@pytest.mark.parametrize("buffer, reason", BROKEN, ids=[row[1] for row in BROKEN])
def test_what_is_no_netstring_is_refused(buffer: bytes, reason: str) -> None:
    with pytest.raises(NetstringError):
        split_frames(buffer, 100)


@given(st.lists(st.binary(max_size=50), max_size=5), st.data())
def test_frames_survive_being_cut_anywhere(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(encode(payload) for payload in payloads)
    cut = data.draw(st.integers(0, len(stream)))
    first, used = split_frames(stream[:cut], 50)
    second, _ = split_frames(stream[used:], 50)
    assert first + second == payloads


@given(st.binary(max_size=200))
def test_any_bytes_are_split_or_refused(buffer: bytes) -> None:
    try:
        payloads, used = split_frames(buffer, 50)
    except NetstringError:
        return
    assert b"".join(encode(payload) for payload in payloads) == buffer[:used]
    assert len(buffer) - used <= 50 + 4
