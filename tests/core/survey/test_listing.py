"""Lines of a list, as people and Tranco write them."""

import pytest

from mailward.core.names import InvalidName
from mailward.core.survey.listing import MAX_LINE_BYTES, read_line

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
