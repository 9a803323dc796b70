"""Where `mailward report show` writes: standard output, or a file that takes its place when it is complete."""

import codecs
import errno
import io
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TextIO

from mailward.cli.problem import Problem

_IN_ASCII = {"─": "-", "│": "|", "§": "section ", "·": "-", "…": "..."}
"""What our documents hold beside the words of strangers."""


@contextmanager
def open_target(path: Path | None) -> Iterator[IO[bytes]]:
    """The target, in bytes. Raises Problem when it cannot be opened, or written to the end."""
    try:
        if path is None:
            yield _standard_output().buffer
            sys.stdout.flush()
        elif _is_special(path):
            with path.open("wb") as file:
                yield file
        else:
            with _replacing(Path(os.path.realpath(path))) as file:
                yield file
    except BrokenPipeError:
        raise  # whoever read has seen enough: no problem of ours
    except OSError as error:
        if path is None:
            _forget_standard_output()
        where = "standard output" if path is None else f"--output: {path}"
        raise Problem(f"{where}: {error.strerror or error}") from error


@contextmanager
def as_text(target: IO[bytes]) -> Iterator[TextIO]:
    """The target for text: in the terminal's encoding where it is one, with the like of what that lacks."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper) and stdout.buffer is target:
        codecs.register_error("mailward-ascii", _write_in_ascii)
        stdout.reconfigure(errors="mailward-ascii")
        yield stdout
        return
    text = io.TextIOWrapper(target, "utf-8", errors="replace", write_through=True)
    yield text
    text.detach()


def _write_in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_IN_ASCII.get(char, "?") for char in missing), error.end


def _standard_output() -> TextIO:
    stdout: TextIO | None = sys.stdout  # None, where it was closed before we began
    if stdout is None:
        raise Problem("standard output is closed")
    return stdout


def _forget_standard_output() -> None:
    """What could not be written would be tried, and complained about, again at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _is_special(path: Path) -> bool:
    """A device, a pipe, a folder: nothing that can be replaced."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path` that takes its name at the end: `path` may be one of those that are read.

    It stays as it was where nothing is written, or writing fails.
    """
    # hidden, so that it is no candidate in a folder that is being read
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    new = path.with_name(f".mailward-{os.getpid()}.part")
    try:
        with new.open("xb") as file:
            yield file
        if new.stat().st_size:
            with suppress(FileNotFoundError):
                shutil.copymode(path, new)
            new.replace(path)
    finally:
        new.unlink(missing_ok=True)
