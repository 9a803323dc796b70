"""The PROXY protocol, versions 1 and 2: who connects, told by a proxy in front of us before the first octet of TLS.

Only what a trusted proxy says is read here; whom to trust is the caller's matter. Both versions say addresses
of the connection that the proxy took; everything malformed is an error, never a guess.
"""

import ipaddress
import re
from dataclasses import dataclass

MAX_V1_BYTES = 107
"""The longest header of version 1, its CRLF included."""
MAX_V2_BYTES = 16 + 2_048
"""Ours: a header of version 2 may carry up to 64 KiB of additions (TLVs), which nobody needs here."""

_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V1 = re.compile(rb"PROXY (TCP4|TCP6) ([0-9a-fA-F.:]{1,45}) ([0-9a-fA-F.:]{1,45}) (\d{1,5}) (\d{1,5})\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [ -~]*)?\r\n")


class ProxyHeaderInvalid(Exception):
    """What came first is no PROXY header."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    source: str | None
    """The client's address; None: the proxy speaks for itself (health checks), or does not know."""
    size: int
    """How many octets the header takes."""


def read_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header that `data` begins with; None: more octets are needed. Raises ProxyHeaderInvalid."""
    if data.startswith(_V2_SIGNATURE):
        return _read_v2(data)
    if _V2_SIGNATURE.startswith(data):
        return None
    return _read_v1(data)


def _read_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_V1_BYTES)
    if end < 0:
        if len(data) >= MAX_V1_BYTES or not (data.startswith(b"PROXY ") or b"PROXY ".startswith(data)):
            raise ProxyHeaderInvalid("no PROXY header")
        return None
    line = data[: end + 2]
    if _V1_UNKNOWN.fullmatch(line):
        return ProxyHeader(None, len(line))
    match = _V1.fullmatch(line)
    if not match:
        raise ProxyHeaderInvalid("malformed PROXY line")
    version = 4 if match[1] == b"TCP4" else 6
    source, target = _address(match[2], version), _address(match[3], version)
    if not target or any(int(port) > 65535 for port in (match[4], match[5])):
        raise ProxyHeaderInvalid("malformed PROXY line")
    return ProxyHeader(source, len(line))


def _address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError as error:
        raise ProxyHeaderInvalid("malformed address") from error
    if address.version != version:
        raise ProxyHeaderInvalid("malformed address")
    return str(address)


def _read_v2(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    version, command, family = data[12] >> 4, data[12] & 15, data[13]
    size = 16 + int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1 or size > MAX_V2_BYTES:
        raise ProxyHeaderInvalid("malformed PROXY header")
    if len(data) < size:
        return None
    length = {0x11: 4, 0x21: 16}.get(family)
    if command == 0 or family == 0x00:
        return ProxyHeader(None, size)
    if length is None:  # UDP and unix sockets have no business here
        raise ProxyHeaderInvalid("not TCP over IPv4 or IPv6")
    if size < 16 + 2 * length + 4:
        raise ProxyHeaderInvalid("malformed PROXY header")
    return ProxyHeader(str(ipaddress.ip_address(data[16 : 16 + length])), size)
