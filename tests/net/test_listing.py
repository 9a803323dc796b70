"""Lists of domains as people have them."""

import pytest

from mailward.core.importing.listing import Listing, Unreadable
from mailward.core.importing.powerdns import read_zone, read_zones
from mailward.core.importing.reading import MAX_BYTES
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import listing
from mailward.net.listing import read_listing

ZONE = b"""$ORIGIN example.test.
$TTL 300
@ IN SOA ns1 hostmaster 1 900 300 1209600 60
@ IN NS ns1
@ IN MX 20 mx2
@ IN MX 10 MX1.example.net.
www IN A 192.0.2.1
sub IN MX 5 mx1.example.net.
silent IN MX 0 .
_wrong_ IN MX 5 mx1.example.net.
"""


def rows(listing: Listing) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.name, each.mx) for each in listing.wishes]


def test_a_plain_list_is_a_csv_of_one_column() -> None:
    listing = read_listing(b"example.test\r\n\r\n# mine\r\nOTHER.test.\r\nexample.test\r\n")
    assert rows(listing) == [("example.test", ()), ("other.test", ())]
    assert [(each.where, each.reason) for each in listing.refused] == [
        ("line 5", "the same domain as in line 1")
    ]


def test_columns_are_found_by_their_names() -> None:
    text = "note;mode;domain;mx;max_age\nx;enforce;exämple.test;mx1.example.net *.example.org;604800\n"
    wish = read_listing(text.encode("utf-8-sig")).wishes[0]
    assert wish.name == "xn--exmple-cua.test"
    assert wish.policy == Policy(Mode.ENFORCE, 604_800, ("mx1.example.net", "*.example.org"))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("nodots,,,", "dot"),
        ("a..test,,,", ""),
        ("a.test,*.*.test,,", ""),
        ("a.test,,enforce,", "need the mx column"),
        ("a.test,mx.test,always,", "is not testing, enforce or none"),
        ("a.test,mx.test,testing,1e3", "is not a number of seconds"),
        ('"=cmd()",,,', ""),
    ],
)
def test_a_row_that_cannot_be_meant_is_told_with_its_line(row: str, reason: str) -> None:
    listing = read_listing(f"domain,mx,mode,max_age\n{row}\n".encode())
    assert not listing.wishes
    assert listing.refused[0].where == "line 2"
    assert reason in listing.refused[0].reason


def test_each_name_with_mail_exchangers_in_a_zone_file_is_a_domain() -> None:
    listing = read_listing(ZONE)
    assert sorted(rows(listing)) == [
        ("example.test", ("mx1.example.net", "mx2.example.test")),
        ("sub.example.test", ("mx1.example.net",)),
    ]
    assert sorted(each.text for each in listing.refused) == ["_wrong_.example.test", "silent.example.test"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b"a\0b", "not text"),
        (b"@ IN SOA ns hostmaster 1 2 3 4 5\n@ MX 10 mx.test.\n", "name that as its origin"),
        (b"$ORIGIN a.test.\n$INCLUDE /etc/passwd\n", "no zone file"),
        (b"$ORIGIN a.test.\n$GENERATE 1-1000000 d$ MX 1 mx.test.\n", "no zone file"),
        (b"$ORIGIN a.test.\n@ IN MX ten mx.test.\n", "no zone file"),
        (b"x" * (MAX_BYTES + 1), "larger than"),
        (b'a.test,"' + b"x" * 200_000, "line"),
    ],
)
def test_what_cannot_be_read_is_refused_as_a_whole(content: bytes, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_listing(content)


def test_a_zone_file_has_a_bounded_number_of_records_of_any_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_RECORDS", 3)
    zone = b"$ORIGIN a.test.\n$TTL 60\n@ MX 1 mx.test.\n@ TXT a\n@ TXT b\n"
    assert len(read_listing(zone).wishes) == 1
    with pytest.raises(Unreadable, match=r"^it has more than 3 records$"):
        read_listing(zone + b"@ TXT c\n")


def test_the_answers_of_powerdns() -> None:
    zones = b'[{"id":"a.test.","name":"a.test.","kind":"Native"},{"id":"x","name":"2.0.192.in-addr.arpa."}]'
    assert read_zones(zones) == ("a.test.",)
    whole = (
        b'{"rrsets":[{"name":"a.test.","type":"MX","records":[{"content":"20 mx2.test."},'
        b'{"content":"10 mx1.test."},{"content":"1 off.test.","disabled":true}]},'
        b'{"name":"a.test.","type":"NS","records":[{"content":"ns.test."}]}]}'
    )
    (wish,) = read_zone(whole, "a.test.")
    assert (wish.where, getattr(wish, "mx", ())) == ("zone a.test.", ("mx1.test", "mx2.test"))
    for junk in (b"{}", b"[1]", b"\xff"):
        with pytest.raises(Unreadable):
            read_zones(junk)
