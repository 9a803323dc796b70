"""Log lines to systemd's journal, field by field: its native protocol, a datagram an entry.

    MESSAGE=request host=mta-sts.example.test status=200
    PRIORITY=6
    SYSLOG_IDENTIFIER=mailward-policy-host
    MAILWARD_EVENT=request
    MAILWARD_STATUS=200

so that `journalctl MAILWARD_EVENT=transfer-refused` needs no pattern.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL: a value with a line break has its length in front, else a stranger's text
could add fields; what is too large for a datagram goes as a sealed memory file. An entry that the journal does not take
is dropped: nobody waits for a log.
"""

import array
import errno
import fcntl
import logging
import os
import re
import socket
import struct
from collections.abc import Callable, Mapping

SOCKET = "/run/systemd/journal/socket"
MAX_CHARACTERS = 256 * 1024
"""Of one value: a long trace."""
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9_]")
_MAX_NAME = 64

Read = Callable[[logging.LogRecord], Mapping[str, str]]
"""The fields of a record, under their names in the journal."""


class JournalHandler(logging.Handler):
    """Raises OSError where there is no journal."""

    def __init__(self, read: Read, place: str = SOCKET) -> None:
        super().__init__()
        self._read, self._place = read, place
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.connect(place)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._send(encode_entry(self._read(record)))
        except Exception:  # noqa: BLE001 - as every handler of the logging module's
            self.handleError(record)

    def _send(self, entry: bytes) -> None:
        try:
            self._socket.send(entry)
        except (ConnectionRefusedError, FileNotFoundError):
            self._socket.connect(self._place)  # the journal was started anew
            self._socket.send(entry)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            self._send_file(entry)

    def _send_file(self, entry: bytes) -> None:
        file = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(file, entry)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
            passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
            self._socket.sendmsg([b""], passed)
        finally:
            os.close(file)

    def close(self) -> None:
        self._socket.close()
        super().close()


def encode_entry(fields: Mapping[str, str]) -> bytes:
    parts = []
    for name, text in fields.items():
        value = text[:MAX_CHARACTERS].encode("utf-8", "replace")
        if b"\n" in value:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
        else:
            parts.append(name.encode() + b"=" + value + b"\n")
    return b"".join(parts)


def field_name(key: str) -> str:
    """Upper case, digits and underscores; ours begin with MAILWARD_, so that none passes for one of systemd's."""
    return f"MAILWARD_{_NOT_IN_NAMES.sub('_', key.upper())}"[:_MAX_NAME]
