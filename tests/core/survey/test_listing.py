"""Lines of a list, as people and Tranco write them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.names import InvalidName
from mailward.core.survey.listing import MAX_LINE_BYTES, _read_any, read_line

GOOD = (
    (b"example.org\n", None, "example.org"),
    (b"  Example.ORG.  \r\n", None, "example.org"),
    (b"7,example.org\n", 7, "example.org"),  # Tranco
    (b'"8","example.org"\n', 8, "example.org"),
    (b"9\texample.org\tmore\n", 9, "example.org"),
    (b"example.org;a note\n", None, "example.org"),
    ("bücher.example\n".encode(), None, "xn--bcher-kva.example"),
    (b"example.org", None, "example.org"),  # the last line
)
BAD = (
    (b"localhost\n", "one label"),
    (b"192.0.2.1\n", "address"),
    (b"a b.example\n", "no label"),
    (b"info@example.org\n", "no label"),
    (b"https://example.org/\n", "no label"),
    (b"12,\n", "empty"),
    (b"1234567890123456,example.org\n", "no rank"),
    (b"\xff\xfe.example\n", "not UTF-8"),
    (b"a\0b.example\n", "no label"),
    (b"x" * (MAX_LINE_BYTES + 1), "longer than"),
    (b"_dmarc.example.org\n", "no label"),
)


@pytest.mark.parametrize(("line", "rank", "domain"), GOOD)
def test_a_name_is_read_in_each_form(line: bytes, rank: int | None, domain: str) -> None:
    entry = read_line(line, 5)
    assert entry is not None
    assert (entry.line, entry.rank, entry.domain) == (5, rank, domain)


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_junk_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    with pytest.raises(InvalidName, match=reason):
        read_line(line, 5)


@pytest.mark.parametrize("line", [b"\n", b"   \r\n", b"# a comment\n"])
def test_empty_lines_and_comments_are_nothing(line: bytes) -> None:
    assert read_line(line, 5) is None


def test_headings_count_in_the_first_line_alone() -> None:
    assert read_line(b"rank,domain\n", 1) is None
    assert read_line(b"\xef\xbb\xbfDomain\n", 1) is None
    with pytest.raises(InvalidName):
        read_line(b"domain\n", 2)


_LABELS = st.lists(
    st.text("ab0-Z", min_size=0, max_size=5) | st.just("x" * 63) | st.just("y" * 64), max_size=5
)


@given(
    _LABELS,
    st.sampled_from(["", "1,", "12,", "1;", "x,", "9" * 15 + ",", "9" * 16 + ",", " ", '"', "\u0661,"]),
    st.sampled_from(["", "\n", "\r\n", "\n\n", ".\n", " \n", ",x\n", "\x0b", "\u00e9\n"]),
)
def test_the_short_way_reads_what_the_long_one_does(labels: list[str], before: str, after: str) -> None:
    def attempt(read: Callable[[bytes, int], object]) -> object:
        try:
            return read(line, 2)
        except InvalidName as error:
            return str(error)

    line = f"{before}{'.'.join(labels)}{after}".encode()
    assert attempt(read_line) == attempt(_read_any)
