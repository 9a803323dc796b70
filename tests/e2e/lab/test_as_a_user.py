"""`mailward lab` as somebody who is not root, in a user namespace of his own. This machine gets no new user: he is in
/etc/passwd, /etc/subuid and /etc/subgid of this test's own mount namespace alone.

The first run makes his Debian tree, which takes a minute; it is kept in .cache.
"""

import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[3]
TREES = ROOT / ".cache" / "lab-trees"
USER, NUMBER = "mailward-lab", 64_999
NUMBERS = f"{USER}:{300_000}:{65_536}\n"  # of a namespace: Postfix wants users of its own


@pytest.fixture
def home(root: None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mailward-lab-", dir="/var/tmp"))
    TREES.mkdir(parents=True, exist_ok=True)
    for each in (folder, TREES):
        os.chown(each, NUMBER, NUMBER)
    yield folder
    shutil.rmtree(folder)


def as_user(home: Path, command: Sequence[str], **environment: str) -> list[str]:
    """The command as that user, with a home, and with what he must read to run it."""
    lines = ["set -e"]
    entries = {
        "passwd": f"{Path('/etc/passwd').read_text()}{USER}:x:{NUMBER}:{NUMBER}::{home}:/bin/sh\n",
        "subuid": NUMBERS,
        "subgid": NUMBERS,
    }
    for name, text in entries.items():
        (home / name).write_text(text)
        lines.append(f"[ -e /etc/{name} ] || : >/etc/{name}")
        lines.append(f"mount --bind {home / name} /etc/{name}")
    lines += list(_show(home, {ROOT, Path(sys.base_prefix).resolve(), Path(sys.prefix)}))
    words = [f"{name}={value}" for name, value in environment.items()]
    words = ["env", "-i", f"HOME={home}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *words, *command]
    lines.append(f"exec setpriv --reuid {NUMBER} --regid {NUMBER} --clear-groups {shlex.join(words)}")
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines)]


def _show(home: Path, paths: set[Path]) -> Iterator[str]:
    """What lies below a folder that is closed to others, such as /root, appears there alone, and the folder is open."""
    outer = {path for path in paths if not any(other in path.parents for other in paths)}
    closed: dict[Path, list[Path]] = {}
    for path in sorted(outer):
        for folder in reversed(path.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                closed.setdefault(folder, []).append(path)
                break
    for folder, hidden in closed.items():
        places = [home / "seen" / str(number) for number in range(len(hidden))]
        for path, place in zip(hidden, places, strict=True):
            yield f"mkdir -p {place} && mount --rbind {path} {place}"
        yield f"mount -t tmpfs -o mode=755 tmpfs {folder}"
        for path, place in zip(hidden, places, strict=True):
            yield f"mkdir -p {path} && mount --rbind {place} {path}"


def test_who_is_not_root_sees_the_same(home: Path) -> None:
    json = home / "lab.json"
    words = ["lab", "--scenario", "starttls-stripped", "--json", str(json)]
    command = as_user(home, [sys.executable, "-m", "mailward", *words], MAILWARD_TREES=str(TREES))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "All 4 results are as expected." in done.stdout
    assert msgspec.json.decode(json.read_bytes())["differences"] == []
    assert json.stat().st_uid == NUMBER
    assert not list(TREES.glob("lab-*"))
