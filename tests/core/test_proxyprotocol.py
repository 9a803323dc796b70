"""The PROXY protocol: examples of its specification (haproxy, proxy-protocol.txt), and what must be refused."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.core.proxyprotocol import MAX_V2_BYTES, ProxyHeader, ProxyHeaderInvalid, read_proxy_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V4 = b"\xc0\x00\x02\x07" + b"\xc6\x33\x64\x01" + b"\xdc\x04\x01\xbb"
V6 = (
    ipaddress.ip_address("2001:db8::7").packed
    + ipaddress.ip_address("2001:db8::1").packed
    + b"\xdc\x04\x01\xbb"
)


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


GOOD = [
    (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1"),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    (v2(0x21, 0x11, V4), "192.0.2.7"),
    (v2(0x21, 0x21, V6), "2001:db8::7"),
    (v2(0x21, 0x11, V4 + b"\x04\x00\x03abc"), "192.0.2.7"),
    (v2(0x20, 0x00, b""), None),
    (v2(0x21, 0x00, b""), None),
]


@pytest.mark.parametrize("data, source", GOOD)
def test_the_source_is_read_and_what_follows_is_left(data: bytes, source: str | None) -> None:
    assert read_proxy_header(data + b"\x16\x03\x01") == ProxyHeader(source, len(data))


@pytest.mark.parametrize("data, source", GOOD)
def test_a_header_in_parts_is_waited_for(data: bytes, source: str | None) -> None:
    assert all(read_proxy_header(data[:size]) is None for size in range(len(data)))


BAD = [
    (b"\x16\x03\x01\x02\x00", "a client's hello"),
    (b"GET / HTTP/1.1\r\n", "HTTP"),
    (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\n" + b" " * 100, "no CR"),
    (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 65536\r\n", "no port"),
    (b"PROXY TCP4 192.168.0.999 192.168.0.11 56324 443\r\n", "no address"),
    (b"PROXY TCP4 ::1 ::1 56324 443\r\n", "another family"),
    (b"PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n", "two spaces"),
    (b"PROXY tcp4 192.168.0.1 192.168.0.11 56324 443\r\n", "lower case"),
    (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n", "a field less"),
    (b"PROXY UNKNOWN " + b"x" * 200, "too long"),
    (v2(0x11, 0x11, V4), "version 1 in the form of 2"),
    (v2(0x22, 0x11, V4), "an unknown command"),
    (v2(0x21, 0x12, V4), "UDP"),
    (v2(0x21, 0x31, b"\0" * 216), "a unix socket"),
    (v2(0x21, 0x11, V4[:-1]), "too short"),
    (v2(0x21, 0x21, V4), "too short for IPv6"),
    (v2(0x21, 0x11, V4 + b"\0" * MAX_V2_BYTES), "too long"),
]


@pytest.mark.parametrize("data, reason", BAD, ids=[row[1] for row in BAD])
def test_what_is_no_header_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ProxyHeaderInvalid):
        read_proxy_header(data)


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda rest: SIGNATURE + rest)))
def test_any_octets_are_a_header_more_is_needed_or_they_are_refused(data: bytes) -> None:
    try:
        header = read_proxy_header(data)
    except ProxyHeaderInvalid:
        return
    if header is None:
        assert len(data) < MAX_V2_BYTES
    else:
        assert header.size <= len(data)
