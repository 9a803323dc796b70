"""Certificates that the operator keeps: folders of `*.pem` files, each a chain (leaf first) with its key."""

import contextlib
import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from mailward.net import clock

_log = logging.getLogger("mailward.certificates")

RESCAN_SECONDS = 2.0
_REST_FACTOR = 40
"""A look that takes a second is followed by so many seconds of rest."""
MOST_ON_THE_LOOP = 200
"""Folders of more files are looked into by a thread."""
MOST_READ_ON_THE_LOOP = 20
MOST_FILES = 1_000_000
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
        pem = _read_octets(path)
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


def _read_octets(path: Path) -> bytes:
    with path.open("rb") as file:
        pem = file.read(MAX_FILE_BYTES + 1)
    if len(pem) > MAX_FILE_BYTES:
        raise PemUnusable(f"larger than {MAX_FILE_BYTES} bytes")
    return pem


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    # RFC 8461 §3.3: DNS-ID only, the common name does not count
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(name.lower() for name in extension.value.get_values_for_type(x509.DNSName))


@dataclass(slots=True)
class _Index:
    """What one look into the folders found. Replaced as a whole: it is made in a thread."""

    files: dict[str, tuple[PemFile, _Stamp]]
    by_name: dict[str, tuple[str, ...]]
    unusable: dict[str, _Stamp]
    """Files that could not be read: not tried again until they change."""

    def has_seen(self, path: str, stamp: _Stamp) -> bool:
        held = self.files.get(path)
        return (held is not None and held[1] == stamp) or self.unusable.get(path) == stamp


class PemSource:
    """Certificates from `folders` (a `CertificateSource`), which are looked into again every two seconds.

    Large folders, and many new files, are read in a thread, and looked into more seldom; while a hundred thousand files
    are read for the first time, `NAME.pem` is found by its name. A file that turns bad keeps its last good state
    for as long as its context is in memory. The version of a certificate is the file and how it was when it was
    read.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(str(folder) for folder in folders)
        self._index = _Index({}, {}, {})
        self._complete = False
        self._expired_told: set[str] = set()
        self._scan_at = 0.0
        self._thread: threading.Thread | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all files were looked at once: large folders take a while."""
        return self._complete

    def version_for(self, name: str) -> tuple[str, _Stamp] | None:
        self._rescan()
        index = self._index
        paths = index.by_name.get(name)
        if paths is not None and len(paths) == 1:
            file, stamp = index.files[paths[0]]
            if file.is_valid(clock.timestamp()):  # nothing can be better
                return paths[0], stamp
        path = self._best(index, name)
        if path is not None:
            return path, index.files[path][1]
        return None if self._complete else self._by_file_name(name)

    def load(self, name: str) -> tuple[bytes, tuple[str, _Stamp]] | None:
        path = self._best(self._index, name)
        if path is None:
            found = None if self._complete else self._by_file_name(name)
            if found is None:
                return None
            path = found[0]
        try:
            # the stamp first: what is written meanwhile is a new version at the next look
            version = path, _stamp(path)
            held = self._index.files.get(path)
            if held is not None and held[1] == version[1]:
                return _read_octets(Path(path)), version  # its names and its key were looked at
            file, pem = read_pem(Path(path))
        except (OSError, PemUnusable) as error:
            _log.error("certificate-unusable", extra={"file": path, "reason": error})
            return None
        return (pem, version) if name in file.names or _wildcard(name) in file.names else None

    def _by_file_name(self, name: str) -> tuple[str, _Stamp] | None:
        if "/" in name or "\0" in name:  # from a stranger
            return None
        for folder in self._folders:
            path = f"{folder}/{name}.pem"
            try:
                return path, _stamp(path)
            except OSError:
                continue
        return None

    def _best(self, index: _Index, name: str) -> str | None:
        paths = index.by_name.get(name, ()) + index.by_name.get(_wildcard(name), ())
        if not paths:
            return None
        now = clock.timestamp()

        def rank(path: str) -> tuple[bool, bool, float]:
            file = index.files[path][0]
            return file.is_valid(now), name in file.names, file.not_after

        best = max(paths, key=rank) if len(paths) > 1 else paths[0]
        file = index.files[best][0]
        if not file.is_valid(now) and best not in self._expired_told:
            self._expired_told.add(best)
            until = datetime.fromtimestamp(file.not_after, UTC).isoformat()
            _log.warning("certificate-not-valid", extra={"file": best, "host": name, "until": until})
        return best

    def _rescan(self) -> None:
        if clock.monotonic() < self._scan_at or self._thread is not None:
            return
        few = self._list(MOST_ON_THE_LOOP) if len(self._index.files) <= MOST_ON_THE_LOOP else None
        if few is not None:
            changed = sum(not self._index.has_seen(path, stamp) for path, stamp in few.items())
            if changed <= MOST_READ_ON_THE_LOOP:
                self._look(few)
                self._scan_at = clock.monotonic() + RESCAN_SECONDS
                return
        self._thread = threading.Thread(target=self._scan_in_thread, name="certificates", daemon=True)
        self._thread.start()

    def _scan_in_thread(self) -> None:
        began = clock.monotonic()
        try:
            self._look(self._list(MOST_FILES) or {})
        finally:
            ended = clock.monotonic()
            self._scan_at = ended + max(RESCAN_SECONDS, (ended - began) * _REST_FACTOR)
            self._thread = None

    def _list(self, most: int) -> dict[str, _Stamp] | None:
        """The files with their stamps; None where there are more."""
        found: dict[str, _Stamp] = {}
        for folder in self._folders:
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if not entry.name.endswith(".pem") or entry.name.startswith("."):
                            continue
                        if len(found) >= most:
                            return None
                        with contextlib.suppress(OSError):  # gone since, or a link to nowhere
                            found[entry.path] = _stamp(entry.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                _log.error(
                    "certificate-folder-unreadable", extra={"folder": folder, "reason": error.strerror}
                )
        return found

    def _look(self, found: dict[str, _Stamp]) -> None:
        """Read what is new among the files that are there now, and replace the index where anything is."""
        old = self._index
        changed = [(path, stamp) for path, stamp in found.items() if not old.has_seen(path, stamp)]
        if changed or len(found) != len(old.files.keys() | old.unusable.keys()):
            files = {path: held for path, held in old.files.items() if path in found}
            unusable = {path: stamp for path, stamp in old.unusable.items() if path in found}
            for path, stamp in sorted(changed):
                self._read(path, stamp, files, unusable)
            by_name: dict[str, tuple[str, ...]] = {}
            for path, (file, _) in files.items():
                for name in file.names:
                    by_name[name] = (*by_name.get(name, ()), path)
            self._index = _Index(files, by_name, unusable)
        self._complete = True

    def _read(
        self,
        path: str,
        stamp: _Stamp,
        files: dict[str, tuple[PemFile, _Stamp]],
        unusable: dict[str, _Stamp],
    ) -> None:
        try:
            file, _ = read_pem(Path(path))
        except PemUnusable as error:
            _log.error("certificate-unusable", extra={"file": path, "reason": error})
            unusable[path] = stamp
            return
        files[path] = file, stamp
        unusable.pop(path, None)
        self._expired_told.discard(path)
        _log.info("certificate-loaded", extra={"file": path, "names": ",".join(file.names)})


def _wildcard(name: str) -> str:
    # RFC 8461 §3.3: a wildcard is the whole left-most label
    return "*." + name.partition(".")[2]


def _stamp(path: str) -> _Stamp:
    status = os.stat(path)  # noqa: PTH116 - a hundred thousand times: a Path costs more than the question
    return status.st_mtime_ns, status.st_size, status.st_ino
