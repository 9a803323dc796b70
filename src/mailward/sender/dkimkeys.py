"""The keys that sign report mail: made here, kept in files that nobody else may read (RFC 6376, RFC 8463)."""

import base64
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from mailward.core.dkim import SigningKey
from mailward.net.durable import sync_folder
from mailward.net.ownership import give_away, make_folder

FOLDER = "tlsrpt-keys"
_RSA_BITS = 2048  # RFC 8301 §3.2: what every verifier takes
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_STRING = 255  # of a TXT record, RFC 1035 §3.3


class KeyFileError(Exception):
    """A key cannot be made or used; the text says which file, and why."""

    code = "key-file"


class SigningName(NamedTuple):
    selector: str
    key: SigningKey


def make_key(data: Path, selector: str, kind: str) -> SigningKey:
    """A new `rsa` or `ed25519` key; never in place of another. Raises KeyFileError."""
    path = key_path(data, selector)
    key: SigningKey = (
        generate_private_key(65537, _RSA_BITS) if kind == "rsa" else Ed25519PrivateKey.generate()
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        make_folder(path.parent)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "wb") as file:
            give_away(number, path.parent)
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: there is a key already; take another selector") from error
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror or error}") from error
    return key


def load_key(data: Path, selector: str) -> SigningKey:
    """Raises KeyFileError."""
    path = key_path(data, selector)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError as error:
        raise KeyFileError(
            f"{path}: there is no such key; `mailward sender key {selector}` makes it"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise KeyFileError(f"{path}: it holds no private key without a password: {error}") from error
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise KeyFileError(f"{path}: only RSA and Ed25519 keys sign mail")
    return key


def load_keys(data: Path, selectors: Sequence[str]) -> list[SigningName]:
    """Raises KeyFileError."""
    return [SigningName(selector, load_key(data, selector)) for selector in selectors]


def key_path(data: Path, selector: str) -> Path:
    """Raises KeyFileError for what is no selector."""
    if not _SELECTOR.fullmatch(selector):
        raise KeyFileError(f"{selector!r} is no selector: lower-case letters, digits and hyphens")
    return data / FOLDER / f"{selector}.pem"


def record_of(key: SigningKey) -> str:
    """The TXT record's content. RFC 8460 section 3: the key is for reports, `s=tlsrpt`."""
    public = key.public_key()
    if isinstance(key, Ed25519PrivateKey):
        kind, der = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        kind, der = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k={kind}; s=tlsrpt; p={base64.b64encode(der).decode('ascii')}"


def zone_line(domain: str, selector: str, key: SigningKey) -> str:
    """For a zone file, in strings of the length that DNS has."""
    text = record_of(key)
    strings = " ".join(f'"{text[at : at + _STRING]}"' for at in range(0, len(text), _STRING))
    return f"{selector}._domainkey.{domain}. IN TXT ( {strings} )"
