"""The public key record (RFC 6376 section 3.6.1)."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mailward.core.dkim.signature import parse_tags

MIN_RSA_BITS = 1024  # RFC 8301 §3.2
MAX_RSA_BITS = 8192  # no sender needs more, and the work grows with the square
_MAX_RECORD_BYTES = 8 * 1024
_MAX_RECORDS = 4
_PUBLIC_EXPONENT_MAX = 2**33


class KeyStatus(StrEnum):
    FOUND = "found"
    GONE = "gone"
    """The name or its TXT records do not exist."""
    TEMPORARY = "temporary"
    """DNS gave no answer: ask again later."""


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """What DNS said at a signature's key name."""

    status: KeyStatus
    records: tuple[bytes, ...] = ()
    """TXT records, the character-strings of each joined."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PublicKey:
    key: RSAPublicKey | Ed25519PublicKey
    exact_domain: bool
    """`t=s`: tag i of the signature must name the domain itself."""


class KeyRevoked(Exception):
    """The record says so: an empty `p=`."""


class KeyRefused(ValueError):
    """There is a record, and it cannot be used for this; the text says why."""


def pick_key(records: Sequence[bytes], algorithm: str) -> PublicKey:
    """The key for `algorithm` (a tag a) among the TXT records at the key name. Raises KeyRevoked, KeyRefused.

    RFC 6376 §3.6.2.2 leaves several records undefined; the first that can be used is taken.
    """
    problem: KeyRefused | KeyRevoked = KeyRefused("the key record is empty")
    for record in records[:_MAX_RECORDS]:
        try:
            return _parse_key(bytes(record), algorithm.partition("-")[0])
        except (KeyRefused, KeyRevoked) as error:
            problem = error
    raise problem


@lru_cache(maxsize=512)
def _parse_key(record: bytes, kind: str) -> PublicKey:
    if len(record) > _MAX_RECORD_BYTES:
        raise KeyRefused(f"the key record has more than {_MAX_RECORD_BYTES} bytes")
    try:
        tags = parse_tags(record)
    except ValueError as error:
        raise KeyRefused(f"the key record: {error}") from error
    if tags.get("v", b"DKIM1") != b"DKIM1":
        raise KeyRefused("the key record is not of DKIM1")
    if "p" not in tags:
        raise KeyRefused("the key record has no p=")
    if not tags["p"]:
        raise KeyRevoked
    if tags.get("k", b"rsa").lower() != kind.encode():
        raise KeyRefused("the key is of another kind than the signature")
    if b"sha256" not in _split(tags.get("h", b"sha256")):
        raise KeyRefused("the key is not for SHA-256")
    # RFC 8460 §3: the service type; absent means any (RFC 6376 §3.6.1)
    if not {b"*", b"tlsrpt"} & set(_split(tags.get("s", b"*"))):
        raise KeyRefused("the key is not for TLS reports: its s= allows neither tlsrpt nor *")
    return PublicKey(_load(tags["p"], kind), b"s" in _split(tags.get("t", b"")))


def _split(value: bytes) -> list[bytes]:
    return [part.strip(b" \t\r\n").lower() for part in value.split(b":")]


def _load(encoded: bytes, kind: str) -> RSAPublicKey | Ed25519PublicKey:
    try:
        der = base64.b64decode(b"".join(encoded.split()), validate=True)
        key = Ed25519PublicKey.from_public_bytes(der) if kind == "ed25519" else load_der_public_key(der)
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise KeyRefused("the key cannot be read") from error
    if isinstance(key, Ed25519PublicKey):
        return key
    if not isinstance(key, RSAPublicKey):
        raise KeyRefused("the key is no RSA key")
    if key.key_size < MIN_RSA_BITS:
        raise KeyRefused(f"the key is too weak: {key.key_size} bits")
    if key.key_size > MAX_RSA_BITS or key.public_numbers().e > _PUBLIC_EXPONENT_MAX:
        raise KeyRefused("the key is larger than any sender needs")
    return key
