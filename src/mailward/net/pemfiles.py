"""Certificates that the operator keeps: folders of `*.pem` files, each a chain (leaf first) with its key."""

import logging
import ssl
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from mailward.net import clock
from mailward.net.tlscontext import make_server_context

_log = logging.getLogger("mailward.certificates")

RESCAN_SECONDS = 2.0
MAX_FILE_BYTES = 256 * 1024
MAX_CONTEXTS = 10_000

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class PemFile:
    path: Path
    pem: bytes
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime

    def is_valid(self, now: datetime) -> bool:
        return self.not_before <= now < self.not_after


class PemUnusable(Exception):
    """A PEM file that cannot serve; the text says why."""


def read_pem(path: Path) -> PemFile:
    """Raises PemUnusable."""
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_FILE_BYTES + 1)
        if len(pem) > MAX_FILE_BYTES:
            raise PemUnusable(f"larger than {MAX_FILE_BYTES} bytes")
        leaf = x509.load_pem_x509_certificates(pem)[0]
        # TypeError: the key is encrypted
        key = serialization.load_pem_private_key(pem, password=None, unsafe_skip_rsa_key_validation=True)
    except OSError as error:
        raise PemUnusable(error.strerror or str(error)) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PemUnusable(str(error).partition("\n")[0]) from error
    if key.public_key() != leaf.public_key():
        raise PemUnusable("the key does not belong to the first certificate")
    names = _names(leaf)
    if not names:
        raise PemUnusable("the certificate names no DNS name (subjectAltName)")
    return PemFile(path, pem, names, leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    # RFC 8461 §3.3: DNS-ID only, the common name does not count
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


class PemSource:
    """Looks into its folders again every two seconds. A file that turns bad keeps its last good state."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._files: dict[Path, PemFile] = {}
        self._stamps: dict[Path, _Stamp] = {}
        self._by_name: dict[str, list[PemFile]] = {}
        self._contexts: OrderedDict[Path, ssl.SSLContext] = OrderedDict()
        self._expired_told: set[Path] = set()
        self._scan_at = 0.0

    def context_for(self, name: str) -> ssl.SSLContext | None:
        self._rescan()
        # RFC 8461 §3.3: a wildcard is the whole left-most label
        wildcard = "*." + name.partition(".")[2]
        files = self._by_name.get(name, []) + self._by_name.get(wildcard, [])
        if not files:
            return None
        now = clock.now()
        best = max(files, key=lambda file: (file.is_valid(now), name in file.names, file.not_after))
        if not best.is_valid(now) and best.path not in self._expired_told:
            self._expired_told.add(best.path)
            _log.warning(
                "certificate-not-valid",
                extra={"file": best.path, "host": name, "until": best.not_after.isoformat()},
            )
        return self._context(best)

    def _context(self, file: PemFile) -> ssl.SSLContext | None:
        context = self._contexts.get(file.path)
        if context is None:
            try:
                context = make_server_context(file.pem)
            except ssl.SSLError as error:  # such as a key that is too short for OpenSSL's security level
                _log.error(
                    "certificate-unusable", extra={"file": file.path, "reason": error.reason or str(error)}
                )
                return None
            self._contexts[file.path] = context
            if len(self._contexts) > MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        self._contexts.move_to_end(file.path)
        return context

    def _rescan(self) -> None:
        if (now := clock.monotonic()) < self._scan_at:
            return
        self._scan_at = now + RESCAN_SECONDS
        found = dict(_stamps(self._folders))
        if found == self._stamps:
            return
        for path, stamp in found.items():
            if self._stamps.get(path) != stamp:
                self._read(path)
        for path in self._files.keys() - found.keys():
            del self._files[path]
            self._contexts.pop(path, None)
        self._stamps = found
        self._by_name = {}
        for file in self._files.values():
            for name in file.names:
                self._by_name.setdefault(name, []).append(file)

    def _read(self, path: Path) -> None:
        try:
            file = read_pem(path)
        except PemUnusable as error:
            _log.error("certificate-unusable", extra={"file": path, "reason": error})
            return
        self._files[path] = file
        self._contexts.pop(path, None)
        self._expired_told.discard(path)
        _log.info("certificate-loaded", extra={"file": path, "names": ",".join(file.names)})


def _stamps(folders: Sequence[Path]) -> Iterable[tuple[Path, _Stamp]]:
    for folder in folders:
        try:
            paths = sorted(folder.glob("*.pem"))
        except OSError as error:
            _log.error("certificate-folder-unreadable", extra={"folder": folder, "reason": error.strerror})
            continue
        for path in paths:
            try:
                status = path.stat()
            except OSError:  # gone since, or a link to nowhere
                continue
            yield path, (status.st_mtime_ns, status.st_size, status.st_ino)
