import random

import pytest

from mailward.core.tlsrpt.destinations import MAX_DESTINATIONS, Destination, read_destinations

A, B = Destination("mailto:a@x.example", "a@x.example"), Destination("mailto:b@x.example", "b@x.example")
WEB = Destination("https://x.example/v1/tls")
READ = [
    # record, destinations, notes
    ("v=TLSRPTv1; rua=mailto:a@x.example", (A,), ""),
    ("v=TLSRPTv1;rua=mailto:a@x.example,https://x.example/v1/tls;", (A, WEB), ""),
    ("v=TLSRPTv1; rua=mailto:a@x.example , mailto:b@x.example", (A, B), ""),
    ("v=TLSRPTv1; p=x; rua=mailto:a@x.example", (A,), ""),
    ("v=TLSRPTv1 ; rua=mailto:a@x.example", (A,), "version-spelling"),
    ("v=tlsrptv1; RUA = mailto:a@x.example", (A,), "version-spelling rua-spelling"),
    ("v=TLSRPTv1; rua=MAILTO:a@X.example,HTTPS://X.example/v1/tls", (A, WEB), ""),
    ("v=TLSRPTv1; rua=mailto:a@x.example,mailto:a@X.EXAMPLE", (A,), "rua-duplicate"),
    ("v=TLSRPTv1; rua=mailto:a@x.example,,mailto:b@x.example", (A, B), ""),
    ("v=TLSRPTv1; rua=mailto:a@x.example mailto:b@x.example", (A, B), ""),
    ("v=TLSRPTv1; rua=mailto:a@x.example; rua=mailto:b@x.example", (A, B), "rua-repeated"),
    ("v=TLSRPTv1; rua=mailto:%61%40x.example", (A,), ""),
    ("v=TLSRPTv1; rua=mailto:a@x.example?subject=hello", (A,), ""),
    ("v=TLSRPTv1; rua=mailto://a@x.example", (A,), "rua-slashes"),
    ("v=TLSRPTv1; rua=a@x.example", (A,), "rua-without-scheme"),
    ("v=TLSRPTv1; rua=<mailto:a@x.example>", (A,), ""),
    ("v=TLSRPTv1; rua=https://x.example:443/v1/tls!5m", (WEB,), "rua-size-hint"),
    ("v=TLSRPTv1; rua=http://x.example/v1/tls,mailto:a@x.example", (A,), "rua-scheme"),
    ("v=TLSRPTv1; rua=tel:1,mailto:a@x.example", (A,), "rua-scheme"),
    ("v=TLSRPTv1; rua=https://u:p@x.example/,https:///,mailto:@", (), "rua-https rua-https rua-address"),
    ("v=TLSRPTv1; rua=mailto:a@x.example%0d%0aBcc:b@x.example", (), "rua-address"),
    ("v=TLSRPTv1; rua=", (), "rua-empty"),
    ("v=TLSRPTv1;", (), "rua-missing"),
    ("v=DMARC1; rua=mailto:a@x.example", (), "no-version"),
    ("", (), "no-version"),
]


@pytest.mark.parametrize(
    "record, found, notes", READ, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_is_plainly_meant_counts_and_is_noted(
    record: str, found: tuple[Destination, ...], notes: str
) -> None:
    read = read_destinations(record)
    assert read.found == found
    assert " ".join(note.slug for note in read.notes) == notes


@pytest.mark.parametrize(
    "hint, size", [("!10m", 10 * 2**20), ("!50K", 50 * 2**10), ("!400", 400), ("!1g", 2**30)]
)
def test_a_size_hint_is_read(hint: str, size: int) -> None:
    [found] = read_destinations(f"v=TLSRPTv1; rua=mailto:a@x.example{hint}").found
    assert found == Destination("mailto:a@x.example", "a@x.example", size)


def test_who_names_too_many_gets_no_more_than_others() -> None:
    many = ",".join(f"mailto:a{number}@x.example" for number in range(100))
    read = read_destinations(f"v=TLSRPTv1; rua={many}")
    assert len(read.found) == MAX_DESTINATIONS
    assert [note.slug for note in read.notes] == ["rua-too-many"]


def test_hostile_records_are_read_without_a_crash() -> None:
    chance = random.Random(8460)
    pieces = [
        "v=TLSRPTv1;",
        "rua=",
        "mailto:",
        "https://",
        "@",
        "!",
        "%",
        "%2",
        "[",
        "]",
        ",",
        ";",
        " ",
        "\0",
        "é",
        "\udcff",
        "x.example",
        ":99999999",
        "1m",
        "//",
        "?",
        "#",
        '"',
    ]
    for _ in range(3000):
        record = "v=TLSRPTv1; rua=" + "".join(chance.choices(pieces, k=chance.randrange(40)))
        for destination in read_destinations(record).found:
            assert destination.rua.isascii()
            assert destination.rua.isprintable()
