"""Private keys at rest: sealed by a key that is not in the database.

The keys come from the settings (`key`, best from a file by MAILWARD_KEY_FILE), or from `<data>/key`, which is made
with mode 0600 where there is none. The first seals; all open, so that a key can be replaced while processes that know
only the older one still run.

    keyring = load_keyring(settings)
    sealed = keyring.seal(pem, "account https://ca.example/directory")
    keyring.open(sealed, "account https://ca.example/directory")
"""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mailward.config import Settings, SettingsError
from mailward.net.durable import sync_folder
from mailward.net.ownership import give_away

_log = logging.getLogger(__name__)

KEY_BYTES = 32
_FORMAT = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12
KEY_FILE = "key"


class Unopenable(Exception):
    """What was sealed cannot be opened: by a key that we do not have, or it was altered."""


class Keyring:
    """AES-256-GCM; the identifier of the key and what the secret is for are authenticated with it."""

    def __init__(self, keys: list[bytes], file: Path | None = None) -> None:
        """`file`: where the keys are from, to look again when they have been replaced."""
        self._file = file
        self._stamp = _stamp(file)
        self._set(keys)

    def _set(self, keys: list[bytes]) -> None:
        self._keys = {_identifier(key): key for key in keys}
        self._first = _identifier(keys[0])

    @property
    def first(self) -> bytes:
        """The identifier of the key that seals."""
        self._look_again()
        return self._first

    def seal(self, secret: bytes, purpose: str) -> bytes:
        self._look_again()
        head, nonce = _FORMAT + self._first, os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._keys[self._first]).encrypt(nonce, secret, head + purpose.encode())
        return head + nonce + sealed

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Raises Unopenable."""
        identifier = sealed_by(sealed)
        if identifier not in self._keys:
            self._look_again()
        key = self._keys.get(identifier)
        if key is None:
            raise Unopenable(f"it was sealed by a key that is not here ({identifier.hex()})")
        at = len(_FORMAT) + _ID_BYTES
        try:
            return AESGCM(key).decrypt(
                sealed[at : at + _NONCE_BYTES], sealed[at + _NONCE_BYTES :], sealed[:at] + purpose.encode()
            )
        except (InvalidTag, ValueError) as error:
            raise Unopenable("it was altered, or sealed for something else") from error

    def proofs(self, purpose: str, text: str) -> list[str]:
        """What only somebody with one of these keys can tell about `text`; by the first key first."""
        self._look_again()
        ordered = [self._keys[self._first], *self._keys.values()]
        message = f"{purpose}\0{text}".encode()
        return [hmac.new(_derive(key), message, hashlib.sha256).hexdigest()[:40] for key in ordered]

    def _look_again(self) -> None:
        if self._file is not None and (stamp := _stamp(self._file)) != self._stamp and stamp is not None:
            self._stamp = stamp
            try:
                self._set(read_keys(self._file.read_text(encoding="ascii"), str(self._file)))
            except (SettingsError, OSError, UnicodeDecodeError) as error:
                # somebody is at it, in the middle of a handshake: those that we have go on
                _log.error("key-file-unreadable", extra={"file": self._file, "reason": error})


def load_keyring(settings: Settings) -> Keyring:
    """Raises SettingsError for keys that are none, and OSError."""
    if settings.key:
        return Keyring(read_keys(settings.key, _where_named()))
    path = settings.data_path / KEY_FILE
    make_key_file(path)
    return Keyring(read_keys(path.read_text(encoding="ascii"), str(path)), path)


def _where_named() -> str:
    """Where the settings have the keys from, as far as it can be told."""
    return next((name for name in ("MAILWARD_KEY", "MAILWARD_KEY_FILE") if name in os.environ), "key")


def make_key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def make_key_file(path: Path) -> None:
    """Where there is none: whole or not at all, and whoever of two comes first. Raises OSError."""
    if path.exists():
        return
    partial = write_key_file(path.with_name(f".{path.name}.{os.getpid()}"), [make_key()])
    try:
        os.link(partial, path)
        sync_folder(path.parent)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def write_key_file(path: Path, keys: list[str]) -> Path:
    """For the owner of the folder alone, and on the disk. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        give_away(handle, path.parent)
        file.write("".join(f"{key}\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())
    return path


def read_keys(text: str, where: str) -> list[bytes]:
    """Raises SettingsError, which never quotes them."""
    keys = []
    for word in text.split():
        try:
            key = base64.b64decode(
                word.translate(str.maketrans("-_", "+/")) + "=" * (-len(word) % 4), validate=True
            )
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != KEY_BYTES:
            raise SettingsError(
                f"{where}: a key is {KEY_BYTES} octets in base64; `mailward key new` prints one"
            )
        keys.append(key)
    if not keys:
        raise SettingsError(f"{where}: it holds no key; `mailward key new` prints one")
    return keys


def key_identifiers(text: str, where: str) -> set[bytes]:
    """Those of the keys in a file or a setting, as `sealed_by` tells them. Raises SettingsError."""
    return {_identifier(key) for key in read_keys(text, where)}


def sealed_by(sealed: bytes) -> bytes:
    """The identifier of the key. Raises Unopenable for what was never sealed."""
    if sealed[:1] != _FORMAT or len(sealed) < len(_FORMAT) + _ID_BYTES + _NONCE_BYTES:
        raise Unopenable("it is not sealed in a way that this version knows")
    return sealed[len(_FORMAT) : len(_FORMAT) + _ID_BYTES]


def _identifier(key: bytes) -> bytes:
    return hashlib.sha256(b"mailward key identifier\0" + key).digest()[:_ID_BYTES]


def _derive(key: bytes) -> bytes:
    return hashlib.sha256(b"mailward proof key\0" + key).digest()


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
