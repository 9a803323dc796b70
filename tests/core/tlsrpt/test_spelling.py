"""Names and addresses as senders write them."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.tlsrpt.spelling import (
    are_addresses_in_form,
    are_domains_in_form,
    read_address,
    read_domain,
)

DOMAINS = [
    ("example.test", "example.test", None),
    ("Example.TEST.", "example.test", "domain-case-or-dot"),
    (" example.test", "example.test", "domain-case-or-dot"),
    ("_25._tcp.mx.example.test", "_25._tcp.mx.example.test", None),  # evidence, not validated
    ("bücher.example", "xn--bcher-kva.example", "domain-ulabel"),
    ("Bücher.example.", "xn--bcher-kva.example", "domain-ulabel"),
    ("\u2603" * 600, "\u2603" * 600, "domain-ulabel"),  # too long for IDNA: kept
    ("", "", None),
]
ADDRESSES = [
    ("192.0.2.1", "192.0.2.1", ()),
    ("2001:DB8:0:0:0:0:0:1", "2001:db8::1", ()),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", ()),  # RFC 5952 §4.2.3: the first of two runs
    ("[192.0.2.1]", "192.0.2.1", ("ip-bracketed",)),
    ("[IPv6:2001:db8::1]", "2001:db8::1", ("ip-bracketed",)),
    ("IPv6:2001:db8::1", "2001:db8::1", ("ip-bracketed",)),
    ("::ffff:192.0.2.1", "192.0.2.1", ("ip-v4-mapped",)),
    ("fe80::1%eth0", "fe80::1", ("ip-zone",)),
    ("192.0.2.01", None, ("ip-not-an-address",)),  # octal or decimal: nobody knows
    ("192.0.2.256", None, ("ip-not-an-address",)),
    ("mx.example.test", None, ("ip-not-an-address",)),
    ("1" * 5000, None, ("ip-not-an-address",)),
]


@pytest.mark.parametrize(("text", "domain", "slug"), DOMAINS)
def test_a_name_is_brought_into_one_form(text: str, domain: str, slug: str | None) -> None:
    assert read_domain(text) == (domain, slug)


@pytest.mark.parametrize(("text", "address", "slugs"), ADDRESSES)
def test_an_address_is_brought_into_one_form(text: str, address: str | None, slugs: tuple[str, ...]) -> None:
    assert read_address(text) == (address, slugs)


@given(st.lists(st.ip_addresses(), max_size=5), st.booleans())
def test_addresses_of_the_standard_library_are_in_form(
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address], exploded: bool
) -> None:
    texts = [address.exploded if exploded else str(address) for address in addresses]
    assert are_addresses_in_form(texts) == all(read_address(text) == (text, ()) for text in texts)


@given(st.lists(st.none() | st.text(st.sampled_from("0123456789abcdf.:\n%")), max_size=3))
def test_what_is_in_form_is_what_would_not_be_changed(texts: list[str | None]) -> None:
    assert are_addresses_in_form(texts) == all(
        text is None or read_address(text) == (text, ()) for text in texts
    )
    if are_domains_in_form(texts):
        assert all(text is None or read_domain(text) == (text, None) for text in texts)
