"""age's envelope (age-encryption.org/v1, C2SP): for X25519 recipients, or for a passphrase; of any length.

    -> X25519 SHARE          the file key, sealed for whoever has the identity; one stanza for each recipient
    -> scrypt SALT LOG-N     the file key, sealed by a passphrase; then this is the only stanza
    --- MAC
    NONCE CHUNK CHUNK ...    64 KiB each, ChaCha20-Poly1305; the last one is marked, so that none can be cut off

Why not a library: pyrage, the one that is kept, holds the whole file in memory where a passphrase is used. The format
is small, its primitives are cryptography's, and tests open ours with age, and age's with ours.
"""

import base64
import binascii
import hashlib
import hmac
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mailward.backup import BackupFault
from mailward.core import bech32
from mailward.core.agekeys import IDENTITY, MAX_RECIPIENTS, RECIPIENT, parse_identity, parse_recipient
from mailward.core.bech32 import KeyTextInvalid

MAGIC = b"age-encryption.org/v1\n"
CHUNK_BYTES = 64 * 1024
_TAG_BYTES = 16
_FILE_KEY_BYTES = 16
_NONCE_BYTES = 16
_ZERO_NONCE = bytes(12)  # each wrapping key seals one thing
_SCRYPT_LOG_N = 17
"""128 MiB and a third of a second; age itself takes twice that."""
_MAX_SCRYPT_LOG_N = 20
"""A forged file may ask for more memory than there is."""
_MAX_HEADER_LINES = 200
_MAX_LINE_BYTES = 200
_STANZA = re.compile(rb"-> ([\x21-\x7e]+(?: [\x21-\x7e]+)*)\n")


class Closed(BackupFault):
    """It cannot be opened: the identity or passphrase is another one, or the file was altered."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Who may open a file: recipients (`age1...`), or whoever knows the passphrase."""

    recipients: tuple[str, ...] = ()
    passphrase: str = ""

    def __post_init__(self) -> None:
        """Raises BackupFault."""
        if self.recipients and self.passphrase:
            raise BackupFault("a backup is for recipients or for a passphrase, not for both")
        if len(self.recipients) > MAX_RECIPIENTS:
            raise BackupFault(f"a backup is for {MAX_RECIPIENTS} recipients at most")
        for number, text in enumerate(self.recipients, 1):
            try:
                parse_recipient(text)
            except KeyTextInvalid as error:
                raise BackupFault(f"recipient {number}: {error}") from error

    def __bool__(self) -> bool:
        return bool(self.recipients or self.passphrase)


@dataclass(frozen=True, slots=True)
class Opener:
    """What opens a file: identities (`AGE-SECRET-KEY-1...`) or a passphrase."""

    identities: tuple[str, ...] = ()
    passphrase: str = ""


def make_identity() -> tuple[str, str]:
    """The secret, which opens; and the recipient, which seals."""
    key = X25519PrivateKey.generate()
    secret = bech32.encode(IDENTITY, key.private_bytes_raw()).upper()
    return secret, bech32.encode(RECIPIENT, key.public_key().public_bytes_raw())


def read_identities(text: str) -> tuple[str, ...]:
    """As age-keygen writes them: a line each, comments begin with #. Raises BackupFault."""
    found = []
    for number, written in enumerate(text.splitlines(), 1):
        line = written.strip()
        if not line or line.startswith("#"):
            continue
        try:
            parse_identity(line)
        except KeyTextInvalid as error:
            raise BackupFault(f"line {number}: {error}") from error
        found.append(line)
    if not found:
        raise BackupFault("there is no identity in it: a line that begins with AGE-SECRET-KEY-1")
    return tuple(found)


class Sealer(io.RawIOBase):
    """What is written here comes out of `target` sealed. Without `finish` it cannot be opened: the end is missing."""

    def __init__(self, target: BinaryIO, lock: Lock) -> None:
        self._target = target
        file_key = os.urandom(_FILE_KEY_BYTES)
        header = MAGIC + b"".join(_stanzas(lock, file_key)) + b"---"
        nonce = os.urandom(_NONCE_BYTES)
        target.write(header + b" " + _text(_mac(file_key, header)) + b"\n" + nonce)
        self._cipher = ChaCha20Poly1305(_derive(file_key, nonce, b"payload"))
        self._held = bytearray()
        self._count = 0

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # of buffers only octets are written here
        self._held += data
        # a full chunk waits: it may be the last one
        while len(self._held) > CHUNK_BYTES:
            self._seal(bytes(self._held[:CHUNK_BYTES]), is_last=False)
            del self._held[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """The last chunk. `target` stays open."""
        self._seal(bytes(self._held), is_last=True)
        self._held.clear()

    def _seal(self, chunk: bytes, *, is_last: bool) -> None:
        self._target.write(self._cipher.encrypt(_chunk_nonce(self._count, is_last), chunk, None))
        self._count += 1


class Unsealer(io.RawIOBase):
    """What was sealed, read again; each chunk is authentic before anything of it is given out."""

    def __init__(self, source: BinaryIO, opener: Opener) -> None:
        """`source` stands at the beginning. Raises Closed and BackupFault."""
        self._source = source
        file_key = _read_header(source, opener)
        self._cipher = ChaCha20Poly1305(_derive(file_key, _exactly(source, _NONCE_BYTES), b"payload"))
        self._count = 0
        self._next = self._sealed_chunk()
        self._held = memoryview(b"")
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # of buffers only this kind comes here
        """Raises Closed."""
        if not self._held and not self._is_over:
            self._held = memoryview(self._open_chunk())
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size

    def _open_chunk(self) -> bytes:
        sealed, self._next = self._next, self._sealed_chunk()
        self._is_over = not self._next
        try:
            chunk = self._cipher.decrypt(_chunk_nonce(self._count, self._is_over), sealed, None)
        except (InvalidTag, ValueError) as error:
            raise Closed("the file was altered or cut off") from error
        self._count += 1
        return chunk

    def _sealed_chunk(self) -> bytes:
        return _up_to(self._source, CHUNK_BYTES + _TAG_BYTES)


def _stanzas(lock: Lock, file_key: bytes) -> list[bytes]:
    if lock.passphrase:
        salt = os.urandom(16)
        key = _stretch(lock.passphrase, salt, _SCRYPT_LOG_N)
        return [_stanza(f"scrypt {_text(salt).decode()} {_SCRYPT_LOG_N}", key, file_key)]
    made = []
    for recipient in map(_public, lock.recipients):
        ephemeral = X25519PrivateKey.generate()
        share = ephemeral.public_key().public_bytes_raw()
        key = _agree(ephemeral, recipient, share + recipient.public_bytes_raw())
        made.append(_stanza(f"X25519 {_text(share).decode()}", key, file_key))
    return made


def _stanza(arguments: str, key: bytes, file_key: bytes) -> bytes:
    sealed = ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, file_key, None)
    return b"-> " + arguments.encode() + b"\n" + _text(sealed) + b"\n"


def _read_header(source: BinaryIO, opener: Opener) -> bytes:
    """The file key."""
    header = source.readline(len(MAGIC))
    if header != MAGIC:
        raise BackupFault("it is not sealed by age in its version 1")
    stanzas: list[tuple[list[bytes], bytes]] = []
    for _ in range(_MAX_HEADER_LINES):
        line = source.readline(_MAX_LINE_BYTES)
        if line.startswith(b"--- "):
            return _file_key(stanzas, opener, header + b"---", line)
        header += line
        if found := _STANZA.fullmatch(line):
            stanzas.append((found[1].split(b" "), b""))
        elif stanzas and line.endswith(b"\n"):
            stanzas[-1] = (stanzas[-1][0], stanzas[-1][1] + line.rstrip(b"\n"))
        else:
            break
    raise BackupFault("its header is not one of age")


def _file_key(
    stanzas: Sequence[tuple[list[bytes], bytes]], opener: Opener, header: bytes, end: bytes
) -> bytes:
    is_scrypt = any(words[0] == b"scrypt" for words, _ in stanzas)
    wanted, option = ("a passphrase", "--passphrase-file") if is_scrypt else ("an identity", "--identity")
    if not (opener.passphrase if is_scrypt else opener.identities):
        raise Closed(f"it is sealed; {wanted} opens it: {option}")
    if is_scrypt and len(stanzas) > 1:
        raise BackupFault(
            "its header is not one of age"
        )  # whoever knows one key could write for the other's owner
    for words, body in stanzas:
        for key in _wrapping_keys(words, opener):
            try:
                file_key = ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, _octets(body, 32), None)
            except InvalidTag:
                continue
            if not hmac.compare_digest(b"--- " + _text(_mac(file_key, header)) + b"\n", end):
                raise Closed("its header was altered")
            return file_key
    raise Closed(f"it is sealed for {wanted} other than the one given")


def _wrapping_keys(words: list[bytes], opener: Opener) -> list[bytes]:
    if words[0] == b"scrypt" and len(words) == 3:
        if not re.fullmatch(rb"[1-9]\d?", words[2]) or int(words[2]) > _MAX_SCRYPT_LOG_N:
            raise BackupFault("its passphrase would take more memory than we give it")
        return [_stretch(opener.passphrase, _octets(words[1], 16), int(words[2]))]
    if words[0] == b"X25519" and len(words) == 2:
        share = _octets(words[1], 32)
        identities = map(_private, opener.identities)
        public = X25519PublicKey.from_public_bytes(share)
        return [_agree(each, public, share + each.public_key().public_bytes_raw()) for each in identities]
    return []  # other kinds of recipients are other people's


def _agree(secret: X25519PrivateKey, public: X25519PublicKey, salt: bytes) -> bytes:
    try:
        shared = secret.exchange(public)
    except ValueError as error:  # a point of low order
        raise BackupFault("its header is not one of age") from error
    return _derive(shared, salt, b"age-encryption.org/v1/X25519")


def _stretch(passphrase: str, salt: bytes, log_n: int) -> bytes:
    whole = b"age-encryption.org/v1/scrypt" + salt
    return Scrypt(salt=whole, length=32, n=1 << log_n, r=8, p=1).derive(passphrase.encode())


def _derive(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=purpose).derive(secret)


def _mac(file_key: bytes, header: bytes) -> bytes:
    return hmac.new(_derive(file_key, b"", b"header"), header, hashlib.sha256).digest()


def _chunk_nonce(count: int, is_last: bool) -> bytes:
    return count.to_bytes(11, "big") + bytes([is_last])


def _public(text: str) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(parse_recipient(text))


def _private(text: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(parse_identity(text))


def _text(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _octets(text: bytes, size: int) -> bytes:
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        data = b""
    if len(data) != size or _text(data) != text:
        raise BackupFault("its header is not one of age")
    return data


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = _up_to(source, size)
    if len(data) != size:
        raise Closed("the file was cut off")
    return data


def _up_to(source: BinaryIO, size: int) -> bytes:
    """A pipe gives less than is asked for."""
    parts = []
    while size and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
