"""What the settings of `[nameserver]` say, read: its servers, secondaries, the contact of its SOA record, its keys."""

import base64
import binascii
import ipaddress
from dataclasses import dataclass, field

from mailward.core.dns.wire import MAX_LABEL, encode_name, is_below
from mailward.core.names import parse_domain
from mailward.core.places import parse_place

KEY_ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
MIN_SECRET_BYTES = 16  # RFC 8945 §8: as long as the digest is best


@dataclass(frozen=True, slots=True)
class Server:
    """One NS record, and its addresses where they stand in the zone itself."""

    name: str
    addresses: tuple[str, ...] = ()


class KeyInvalid(ValueError):
    """The text is no TSIG key; the message says why, without the secret."""


@dataclass(frozen=True, slots=True)
class TransferKey:
    name: str
    algorithm: str
    """One of KEY_ALGORITHMS."""
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secondary:
    """A server that is told of changes."""

    address: str
    port: int = 53
    key: str = ""
    """The name of the transfer key that signs what it is told, in lower case, without a final dot; empty: the first."""


def parse_secondary(text: str) -> Secondary:
    """`address` or `address:port`, and `=key` where it has a key of its own. Raises ValueError."""
    place, equals, key = text.partition("=")
    address, port = parse_place(place, 53)
    if equals and not key:
        raise ValueError(f"{text[:100]!r} names no key behind the =")
    return Secondary(address, port, plain_key_name(key))


def plain_key_name(name: str) -> str:
    return name.lower().removesuffix(".")


def parse_server(text: str, zone: str) -> Server:
    """`name`, or `name=address,address` for a name inside the zone. Raises ValueError."""
    written, _, rest = text.partition("=")
    name = parse_domain(written, allow_single=True)
    addresses = tuple(each for each in rest.split(",") if each)
    for address in addresses:
        ipaddress.ip_address(address)
    # other zones' records are for other servers to give
    if addresses and not is_below(encode_name(name), encode_name(zone)):
        raise ValueError(f"{name} is not in the zone {zone}: its addresses are told there")
    return Server(name, addresses)


def parse_transfer_key(text: str) -> TransferKey:
    """`name:algorithm:secret`, the secret in base64. Raises KeyInvalid."""
    name, colon, rest = text.partition(":")
    algorithm, _, encoded = rest.partition(":")
    if not colon:  # it may be the secret alone
        raise KeyInvalid("a key is name:algorithm:secret")
    if algorithm not in KEY_ALGORITHMS:
        raise KeyInvalid(f"the key {name} needs one of {', '.join(KEY_ALGORITHMS)}, as name:algorithm:secret")
    try:
        encode_name(name)
        if not name.isprintable() or " " in name or "\\" in name:
            raise ValueError
    except ValueError as error:
        raise KeyInvalid(f"{name[:100]!r} is no name of a key") from error
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyInvalid(f"the key {name} cannot be read: its secret is base64") from error
    if len(secret) < MIN_SECRET_BYTES:
        raise KeyInvalid(f"the key {name} is too short: {MIN_SECRET_BYTES} octets at least")
    return TransferKey(name, algorithm, secret)


def parse_contact(text: str) -> str:
    """A mail address that fits into a SOA record. Raises ValueError."""
    local, _, host = text.rpartition("@")
    # RFC 1035 §3.3.13: the local part is the first label, dots and all
    if not 0 < len(local) <= MAX_LABEL or not local.isascii() or not local.isprintable() or " " in local:
        raise ValueError(f"{text[:100]!r} is no mail address that fits into a SOA record")
    return f"{local}@{parse_domain(host, allow_single=True)}"
