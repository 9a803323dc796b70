"""An archive is believed in nothing: what it holds is what its manifest says, or it is refused."""

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.backup import BackupFault
from mailward.backup.age import Opener
from mailward.backup.archive import opened
from mailward.backup.manifest import MAX_BYTES, is_part_name
from mailward.backup.restoring import Staging

KEY = b"a key\n"


def manifest(*parts: tuple[str, bytes], **changes: Any) -> bytes:
    listed = [
        {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts
    ]
    known = {
        "format": 1,
        "mailward": "0.2.0",
        "made_at": "2026-11-30T10:00:00Z",
        "host": "old",
        "database": "",
        "migrations": [],
        "parts": listed,
    }
    return json.dumps(known | changes).encode()


def archive(
    *members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, form: int = tarfile.GNU_FORMAT
) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", format=form) as tar:
        for name, data in members:
            head = tarfile.TarInfo(name)
            head.size = len(data)
            if name != "manifest.json":
                head.type, head.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
            tar.addfile(head, io.BytesIO(data))
    return target.getvalue()


def good(name: str = "data/key") -> bytes:
    # Python's tar pads to 20 blocks; ours ends after two
    plain = gzip.decompress(archive(("manifest.json", manifest((name, KEY))), (name, KEY)))
    return gzip.compress(plain.rstrip(b"\0").ljust(3 * 512 + 512, b"\0") + bytes(1024))


def read(data: bytes, staging: Staging | None = None) -> None:
    with opened(io.BytesIO(data), Opener()) as (_, members):
        members.check(staging.open if staging else None)


def test_a_good_one_is_read(tmp_path: Any) -> None:
    staging = Staging(tmp_path)
    read(good(), staging)
    assert {name: path.read_bytes() for name, path in staging.files.items()} == {"data/key": KEY}


def _manifest_only(text: bytes) -> bytes:
    return archive(("manifest.json", text), ("data/key", KEY))


REFUSED: tuple[tuple[Callable[[], bytes], str, str], ...] = (
    (lambda: b"", "no backup", "nothing"),
    (lambda: b"PK\x03\x04" * 100, "no backup", "something else"),
    (lambda: archive(("data/key", KEY)), "no manifest", "no manifest first"),
    (lambda: _manifest_only(b"{}"), "manifest cannot be read", "an empty manifest"),
    (lambda: _manifest_only(manifest(("data/key", KEY), format=2)), "format 2", "a later format"),
    (lambda: _manifest_only(manifest(("data/key", b"other"))), "another size", "another size"),
    (lambda: _manifest_only(manifest(("data/key", b"b key\n"))), "SHA-256", "another content"),
    (lambda: _manifest_only(manifest(("data/other", KEY))), "not where", "another name"),
    (lambda: _manifest_only(manifest(("data/key", KEY), ("data/key", KEY))), "twice", "a part twice"),
    (lambda: _manifest_only(manifest(("../key", KEY))), "a name that no part has", "above the folder"),
    (lambda: _manifest_only(manifest(("/etc/passwd", KEY))), "a name that no part has", "absolute"),
    (lambda: _manifest_only(manifest(("data/../../key", KEY))), "a name that no part has", "a way out"),
    (
        lambda: archive(
            ("manifest.json", manifest(("data/key", b""))), ("data/key", b""), kind=tarfile.SYMTYPE
        ),
        "no plain file",
        "a link",
    ),
    (
        lambda: archive(
            ("manifest.json", manifest(("data/key", b""))), ("data/key", b""), kind=tarfile.LNKTYPE
        ),
        "no plain file",
        "a hard link",
    ),
    (
        lambda: archive(
            ("manifest.json", manifest(("data/key", KEY))),
            ("data/" + "k" * 300, KEY),
            form=tarfile.PAX_FORMAT,
        ),
        "no plain file",
        "an extended header, whose length a reader must believe",
    ),
    (
        lambda: archive(
            ("manifest.json", manifest(("data/key", KEY))), ("data/key", KEY), ("data/more", KEY)
        ),
        "more in it",
        "a part that nobody named",
    ),
    (lambda: archive(("manifest.json", b" " * (MAX_BYTES + 1))), "no manifest", "a manifest without end"),
)


@pytest.mark.parametrize("make, said, _reason", REFUSED)
def test_what_is_refused(make: Callable[[], bytes], said: str, _reason: str) -> None:
    with pytest.raises(BackupFault, match=said):
        read(make())


def test_what_was_cut_off_is_refused_wherever_it_ends() -> None:
    data = good()
    for length in range(len(data)):
        with pytest.raises(BackupFault):
            read(data[:length])


@given(st.data())
def test_nothing_but_a_fault_comes_of_octets_that_were_altered(data: st.DataObject) -> None:
    plain = bytearray(gzip.decompress(good()))
    for _ in range(data.draw(st.integers(1, 4))):
        plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(BackupFault):
        read(gzip.compress(bytes(plain), compresslevel=0))


LONGEST = "data/tlsrpt-keys/" + "k" * 83
"""A header of tar holds no more without an extended one."""
NAMES = (
    ("database.sqlite3", True),
    ("data/certs/mx.example.org.pem", True),
    ("data/key", True),
    ("data/tlsrpt-keys/s2026.pem", True),
    ("data/certs/*.example.org.pem", True),
    ("data/certs/a/b", False),
    ("data/other/key", False),
    # what lets somebody in, where the data folder is a home
    ("data/.ssh/authorized_keys", False),
    ("data/.profile", False),
    ("data/certs/.key", False),
    # what a restore holds or puts there itself
    ("data/lock", False),
    ("data/certs", False),
    ("data/backups/mailward-20261130T020000Z.tar.gz", False),
    ("data/mailward.sqlite3", False),
    ("data/mailward.sqlite3-wal", False),
    ("data/restored-settings.toml", False),
    ("data/.", False),
    ("data/..", False),
    ("data/x/..", False),
    ("data/", False),
    ("data/a b", False),
    ("data/a\n", False),
    ("data/\u202ekey", False),
    ("etc/passwd", False),
    (LONGEST, True),
    ("data/tlsrpt-keys/" + "k" * 84, False),
)


@pytest.mark.parametrize("name, is_one", NAMES)
def test_names_of_parts(name: str, is_one: bool) -> None:
    assert is_part_name(name) is is_one


def test_the_longest_name_needs_no_extended_header() -> None:
    read(good(LONGEST))
