"""A data folder as the first start leaves it: tables, keys, the console's files and an authority.

Making all tables takes seconds of a processor: it is done once in a process of pytest, and what came out is copied.
Tests of the first start itself let the program do it.
"""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def prepare(data: Path) -> Path:
    """The folder, which need not be there yet."""
    is_new = not data.exists()
    shutil.copytree(_made(), data, dirs_exist_ok=True)
    if is_new:
        data.chmod(0o700)
    return data


@functools.cache
def _made() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="mailward-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = folder / "data"
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))}
    command = [sys.executable, "-m", "mailward", "_prepare"]
    done = subprocess.run(
        command,
        env=kept | {"MAILWARD_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return data
