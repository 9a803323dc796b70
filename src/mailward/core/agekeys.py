"""Keys of age (age-encryption.org/v1): recipients, which seal, and identities, which open; 32 octets each."""

from mailward.core import bech32
from mailward.core.bech32 import KeyTextInvalid

RECIPIENT, IDENTITY = "age", "age-secret-key-"
"""As bech32 has them before the `1`; identities are written in capitals."""
MAX_RECIPIENTS = 99
"""Two lines of the header each, so that we can read what we write."""
_KEY_BYTES = 32


def parse_recipient(text: str) -> bytes:
    """`age1...`. Raises KeyTextInvalid, with one sentence that quotes nothing of it: it may be the other key."""
    return _parse(RECIPIENT, text, "a recipient (age1...)")


def parse_identity(text: str) -> bytes:
    """`AGE-SECRET-KEY-1...`. Raises KeyTextInvalid, with one sentence that quotes nothing of it."""
    return _parse(IDENTITY, text, "an identity (AGE-SECRET-KEY-1...)")


def _parse(prefix: str, text: str, kind: str) -> bytes:
    try:
        data = bech32.decode(prefix, text)
        if len(data) != _KEY_BYTES:
            raise KeyTextInvalid(f"it has not {_KEY_BYTES} octets")
    except KeyTextInvalid as error:
        raise KeyTextInvalid(f"this is not {kind}: {error}") from error
    return data
