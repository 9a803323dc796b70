import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.names import Domain, parse_domain
from mailward.core.postfix.nexthop import NextHop, NoPolicy, parse_nexthop

EXAMPLE = Domain("example.com")
KEYS = [
    ("example.com", NextHop(EXAMPLE), "the usual one"),
    ("EXAMPLE.Com", NextHop(EXAMPLE), "postmap sends it as typed"),
    ("example.com.", NextHop(EXAMPLE), "a final dot"),
    ("bücher.example", NextHop(Domain("xn--bcher-kva.example")), "raw UTF-8, as smtp(8) sends it"),
    ("[example.com]", NextHop(EXAMPLE, is_host=True), "brackets: no MX lookup"),
    ("[example.com]:587", NextHop(EXAMPLE, is_host=True, port=587), "with a port"),
    ("[example.com]:submission", NextHop(EXAMPLE, is_host=True, port=587), "with a service"),
    ("example.com:2525", NextHop(EXAMPLE, port=2525), "a port without brackets"),
    ("example.com:lmtp-x", NextHop(EXAMPLE, port=None), "a service that we do not know"),
    ("example.com:99999", NextHop(EXAMPLE, port=None), "no port"),
    (".example.com", NoPolicy.PARENT, "RFC 8461 section 3.4: never the parent"),
    (".com", NoPolicy.PARENT, "the last parent"),
    ("[192.0.2.1]", NoPolicy.ADDRESS, "an address"),
    ("[192.0.2.1]:25", NoPolicy.ADDRESS, "an address with a port"),
    ("192.0.2.1", NoPolicy.ADDRESS, "a bare address"),
    ("[2001:db8::1]:25", NoPolicy.ADDRESS, "IPv6"),
    ("[IPv6:2001:db8::1]", NoPolicy.ADDRESS, "IPv6 as SMTP writes it"),
    ("2001:db8::1", NoPolicy.ADDRESS, "bare IPv6"),
    ("localhost", NoPolicy.NO_NAME, "one label"),
    ("", NoPolicy.NO_NAME, "nothing"),
    ("private/dovecot-lmtp", NoPolicy.NO_NAME, "a unix socket"),
    ("a_b.example.com", NoPolicy.NO_NAME, "no certificate could hold it"),
    ("example.com\nx", NoPolicy.NO_NAME, "a line feed"),
    ("example.com tafile=/x", NoPolicy.NO_NAME, "an attribute"),
    ("x" * 10_000, NoPolicy.NO_NAME, "the longest that Postfix sends"),
    ("[[example.com]]", NoPolicy.NO_NAME, "brackets twice"),
]


@pytest.mark.parametrize("key, expected, reason", KEYS, ids=[row[2] for row in KEYS])
def test_every_form_of_a_next_hop(key: str, expected: NextHop | NoPolicy, reason: str) -> None:
    assert parse_nexthop(key.encode()) == expected


def test_bytes_that_are_no_text_have_no_policy() -> None:
    assert parse_nexthop(b"\xff.example.com") is NoPolicy.NO_NAME


@given(st.binary(max_size=100) | st.text(alphabet="[]:.ab1-ü*", max_size=30).map(str.encode))
def test_any_key_is_a_domain_or_none(key: bytes) -> None:
    nexthop = parse_nexthop(key)
    if isinstance(nexthop, NextHop):
        assert parse_domain(nexthop.domain) == nexthop.domain
