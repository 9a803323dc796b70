"""A file system of its own in a file, which can lose its power: what was not synced is gone.

`cut` is ext4's own way to try that (EXT4_IOC_SHUTDOWN): nothing more is written, not even its journal, and every
program that goes on writing gets an error. When it is mounted again it is as a machine finds it after a power cut, if
its disk keeps what it has acknowledged: what a program wrote and did not sync is not there. But a flush that is under
way at that instant may be called done though it is not (one of five times with four plain SQLite writers): what a
program says after `cut` counts for nothing.
"""

import fcntl
import os
import struct
import subprocess
from pathlib import Path
from typing import Self

_SHUTDOWN = 0x8004587D
_WITHOUT_JOURNAL = struct.pack("I", 2)


class Disk:
    def __init__(self, folder: Path) -> None:
        """`folder` leads there; it is made."""
        # in memory: what is tried is what reaches the disk, and not how soon a busy machine's disk has it
        self._image = Path("/dev/shm") / f"mailward-disk-{os.getpid()}-0.img"
        self._cuts = 0
        # programs in network namespaces have mounts of their own, which follow those below a shared one
        self._shared = folder.with_name("disk")
        self.folder = self._shared / "mounted"
        self._link = folder

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        self._link.symlink_to(self.folder)
        with self._image.open("wb") as file:
            file.truncate(256 * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-F", self._image)
        _run("mount", "--bind", self._shared, self._shared)
        _run("mount", "--make-shared", self._shared)
        self.mount()
        self.folder.chmod(0o700)
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self.folder)
        _run("umount", "--lazy", self._shared)
        self._image.unlink()

    def mount(self) -> None:
        _run("mount", "-o", "loop", self._image, self.folder)

    def cut(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, _WITHOUT_JOURNAL)
        finally:
            os.close(handle)

    def come_back(self) -> None:
        """Once those who had files open on it have ended."""
        _run("umount", "--lazy", self.folder)
        # another name: some mount namespace of the machine may hold the dead file system, and mount would find that
        self._cuts += 1
        before, number = self._image, f"{os.getpid()}-{self._cuts}"
        self._image = before.with_name(f"mailward-disk-{number}.img")
        _run("cp", "--sparse=always", before, self._image)
        before.unlink()
        self.mount()


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, f"{command[0]}: {done.stderr}"
