"""Log lines of Mailward's processes: one line per finished unit of work, on standard error.

    2026-11-24T09:30:00.125Z INFO policy-host request host=mta-sts.example.test status=200 ms=0.2

In systemd's journal each fact is a field of its own (format "journal", net.journal).

Log with the standard library: a constant event as the message, the facts in `extra`, whose keys are ours to
choose except for those that LogRecord has itself (`name`, `args`, `module`, ...). Text from strangers cannot
break out of its line: what is not plain is quoted as JSON. Never log secrets, tokens or bodies of reports.

    logger = logging.getLogger("mailward.hosting")
    logger.info("snapshot-loaded", extra={"domains": 12, "ms": 3.1})
"""

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

from mailward.net import journal
from mailward.net.journal import JournalHandler, field_name

_MAX_VALUE = 500
_PLAIN = re.compile(r"[A-Za-z0-9._:/@+*%-]+")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure(
    process: str,
    *,
    level: str = "info",
    stream: TextIO | None = None,
    format: str = "text",  # noqa: A002
) -> None:
    """Send everything that this process logs to `stream` (standard error), named `process`; as `text` or as `json`, or
    to the `journal`, and as text where there is none.
    """
    to_journal = _journal_handler(process) if format == "journal" else None
    handler = to_journal or _stream_handler(process, stream or sys.stderr, as_json=format == "json")
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if format == "journal" and to_journal is None:
        logging.getLogger(__name__).warning("no-journal", extra={"socket": journal.SOCKET})
    logging.captureWarnings(capture=True)
    # of the database's connections: while the server is away each attempt says why again
    logging.getLogger("psycopg.pool").addFilter(Seldom())
    # no line of ours says where in the code, by which thread or task it was logged: to find out costs half of a line
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if sys.version_info >= (3, 12):
        logging.logAsyncioTasks = False


class Seldom(logging.Filter):
    """Of each text one line a minute."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if record.created - self._said.get(text, float("-inf")) < 60:
            return False
        self._said = {text: record.created, **dict(list(self._said.items())[:9])}
        return True


class LineFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
        message = record.getMessage()
        parts = [
            stamp,
            record.levelname,
            self._process,
            message if message.isprintable() else _quoted(message),
        ]
        parts += [f"{key}={_value(value)}" for key, value in vars(record).items() if key not in _OWN]
        line = " ".join(parts)
        if record.exc_info:
            # a trace is many lines: indented, so that none of them passes for a line of its own
            line += "\n    " + self.formatException(record.exc_info).replace("\n", "\n    ")
        return line


class JournalFields(LineFormatter):
    """The same facts, as the journal's fields. The line that people read has no time and no level: it knows them."""

    def __call__(self, record: logging.LogRecord) -> dict[str, str]:
        event = record.getMessage()
        facts = {key: value for key, value in vars(record).items() if key not in _OWN}
        fields = {
            "MESSAGE": " ".join([event, *(f"{key}={_value(value)}" for key, value in facts.items())]),
            "PRIORITY": str(_priority(record.levelno)),
            "SYSLOG_IDENTIFIER": f"mailward-{self._process}",
            "MAILWARD_PROCESS": self._process,
            "MAILWARD_EVENT": event,
        }
        fields |= {field_name(key): _cut(str(value)) for key, value in facts.items()}
        if record.exc_info:
            fields["MAILWARD_TRACE"] = self.formatException(record.exc_info)
        return fields


class JsonFormatter(LineFormatter):
    """The same facts, one JSON object a line. Numbers stay numbers."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
            "level": record.levelname,
            "process": self._process,
            "event": record.getMessage(),
        }
        line |= {key: _bounded(value) for key, value in vars(record).items() if key not in _OWN}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


class JournalFormatter(logging.Formatter):
    """Each line with its priority before it, which systemd's journal takes off (sd-daemon(3)): `journalctl -p`."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        mark = f"<{_priority(record.levelno)}>"
        return mark + self._formatter.format(record).replace("\n", f"\n{mark}")


def _stream_handler(process: str, stream: TextIO, *, as_json: bool) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    formatter = JsonFormatter(process) if as_json else LineFormatter(process)
    handler.setFormatter(JournalFormatter(formatter) if _is_journal(stream) else formatter)
    return handler


def _journal_handler(process: str) -> JournalHandler | None:
    try:
        return JournalHandler(JournalFields(process), journal.SOCKET)
    except OSError:
        return None


def _priority(level: int) -> int:
    """Of syslog(3)."""
    if level >= logging.CRITICAL:
        return 2
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7


def _is_journal(stream: TextIO) -> bool:
    """Whether it ends in systemd's journal: systemd.exec(5), $JOURNAL_STREAM."""
    named = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no file, or closed
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def _bounded(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_VALUE else text[:_MAX_VALUE] + "..."


def _value(value: object) -> str:
    text = _cut(str(value))
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text)
