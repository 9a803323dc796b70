"""That a file's name is on the disk too, and not its content alone."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Names that were made, changed or removed in it outlast a power failure from now on. Raises OSError."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
