"""Certificates that the operator keeps: folders of `*.pem` files, each a chain (leaf first) with its key."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from mailward.net import clock

_log = logging.getLogger("mailward.certificates")

RESCAN_SECONDS = 2.0
MAX_FILE_BYTES = 256 * 1024

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class PemFile:
    """What is kept of a file: not its octets, for there may be a hundred thousand."""

    names: tuple[str, ...]
    not_before: float
    """Seconds since 1970, as `not_after`."""
    not_after: float

    def is_valid(self, now: float) -> bool:
        return self.not_before <= now < self.not_after


class PemUnusable(Exception):
    """A PEM file that cannot serve; the text says why."""


def read_pem(path: Path) -> tuple[PemFile, bytes]:
    """With the octets that it was read from. Raises PemUnusable."""
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
    until = leaf.not_valid_after_utc.timestamp()
    return PemFile(names, leaf.not_valid_before_utc.timestamp(), until), pem


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    # RFC 8461 §3.3: DNS-ID only, the common name does not count
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


class PemSource:
    """Certificates from `folders` (a `CertificateSource`), which are looked into again every two seconds.

    A file that turns bad keeps its last good state for as long as its context is in memory. The version of a
    certificate is the file and how it was when it was read.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._files: dict[str, tuple[PemFile, _Stamp]] = {}
        self._stamps: dict[str, _Stamp] = {}
        self._by_name: dict[str, list[str]] = {}
        self._expired_told: set[str] = set()
        self._scan_at = 0.0

    def version_for(self, name: str) -> tuple[str, _Stamp] | None:
        self._rescan()
        path = self._best(name)
        return (path, self._files[path][1]) if path is not None else None

    def load(self, name: str) -> tuple[bytes, tuple[str, _Stamp]] | None:
        path = self._best(name)
        if path is None:
            return None
        try:
            # the stamp first: what is written meanwhile is a new version at the next look
            version = path, _stamp(path)
            _, pem = read_pem(Path(path))
        except (OSError, PemUnusable) as error:
            _log.error("certificate-unusable", extra={"file": path, "reason": error})
            return None
        return pem, version

    def _best(self, name: str) -> str | None:
        # RFC 8461 §3.3: a wildcard is the whole left-most label
        wildcard = "*." + name.partition(".")[2]
        paths = self._by_name.get(name, []) + self._by_name.get(wildcard, [])
        if not paths:
            return None
        now = clock.now().timestamp()

        def rank(path: str) -> tuple[bool, bool, float]:
            file = self._files[path][0]
            return file.is_valid(now), name in file.names, file.not_after

        best = max(paths, key=rank)
        file = self._files[best][0]
        if not file.is_valid(now) and best not in self._expired_told:
            self._expired_told.add(best)
            until = datetime.fromtimestamp(file.not_after, UTC).isoformat()
            _log.warning("certificate-not-valid", extra={"file": best, "host": name, "until": until})
        return best

    def _rescan(self) -> None:
        if (now := clock.monotonic()) < self._scan_at:
            return
        self._scan_at = now + RESCAN_SECONDS
        found = dict(_stamps(self._folders))
        if found == self._stamps:
            return
        for path, stamp in found.items():
            if self._stamps.get(path) != stamp:
                self._read(path, stamp)
        for path in self._files.keys() - found.keys():
            del self._files[path]
        self._stamps = found
        self._by_name = {}
        for path, (file, _) in self._files.items():
            for name in file.names:
                self._by_name.setdefault(name, []).append(path)

    def _read(self, path: str, stamp: _Stamp) -> None:
        try:
            file, _ = read_pem(Path(path))
        except PemUnusable as error:
            _log.error("certificate-unusable", extra={"file": path, "reason": error})
            return
        self._files[path] = file, stamp
        self._expired_told.discard(path)
        _log.info("certificate-loaded", extra={"file": path, "names": ",".join(file.names)})


def _stamp(path: str) -> _Stamp:
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _stamps(folders: Sequence[Path]) -> Iterable[tuple[str, _Stamp]]:
    for folder in folders:
        try:
            paths = sorted(str(path) for path in folder.glob("*.pem"))
        except OSError as error:
            _log.error("certificate-folder-unreadable", extra={"folder": folder, "reason": error.strerror})
            continue
        for path in paths:
            try:
                stamp = _stamp(path)
            except OSError:  # gone since, or a link to nowhere
                continue
            yield path, stamp
