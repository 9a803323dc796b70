"""Files that outlast a power failure: whole, or as they were before."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Names that were made, changed or removed in it outlast a power failure from now on. Raises OSError."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_whole(content: bytes, path: Path, mode: int = 0o644) -> None:
    """Whole or not at all, and never for others than `mode` says, not for a moment. Raises OSError."""
    partial = path.with_name(f".{path.name}.partial")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def append(content: bytes, path: Path, mode: int = 0o644) -> None:
    """At the end of the file, which is made if needed; a power failure may leave a part of it. Raises OSError."""
    is_new = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_folder(path.parent)
