"""The overrides file, read again when it changes. A file with a mistake changes nothing, and is said."""

import asyncio
import logging
from pathlib import Path

from mailward.core.sending.overrides import MAX_FILE_BYTES, Override, OverridesInvalid, parse_overrides
from mailward.sender.answers import Answers

logger = logging.getLogger("mailward.sender")

POLL_SECONDS = 2.0

_Stamp = tuple[int, int, int]


def read_overrides(path: Path) -> tuple[Override, ...]:
    """Raises OverridesInvalid."""
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1).decode("utf-8")
        return parse_overrides(text)
    except OSError as error:
        raise OverridesInvalid([f"{path}: {error.strerror or error}"]) from error
    except UnicodeDecodeError as error:
        raise OverridesInvalid([f"{path}: this is no UTF-8 text"]) from error
    except OverridesInvalid as error:
        raise OverridesInvalid([f"{path}: {error}"]) from error


class OverridesFile:
    def __init__(self, path: Path, answers: Answers) -> None:
        self._path = path
        self._answers = answers
        self._seen: _Stamp | None = None

    def load(self) -> None:
        """Use what the file says now. Raises OverridesInvalid, and then nothing has changed."""
        self._seen = self._stamp()
        overrides = read_overrides(self._path)
        self._answers.use_overrides(overrides)
        logger.info("overrides-loaded", extra={"file": str(self._path), "count": len(overrides)})

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._stamp() != self._seen:
                self.reload()

    def reload(self) -> None:
        try:
            self.load()
        except OverridesInvalid as error:
            # those that were good stay: half a file must not open a domain that was required to be secure
            logger.error("overrides-invalid", extra={"reason": str(error)})

    def _stamp(self) -> _Stamp | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
