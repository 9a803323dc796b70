"""What `mailward sender doctor` says of the socket for TLS sessions."""

import socket
from collections.abc import Iterator
from pathlib import Path

from mailward.config import Settings
from mailward.core.postfix.checkup import Finding, Grade
from mailward.core.postfix.maincf import Instance
from mailward.sender.signals import QUEUE_LENGTH_FIX, WANTED_QUEUE_LENGTH, read_queue_length

MAX_PATH_BYTES = 107  # sockaddr_un
_SIGN = b"tlsrpt_open"  # what Postfix calls in libtlsrpt
_PROGRAMS = (("shlib_directory", "libpostfix-tls.so"), ("daemon_directory", "smtp"))
_MAX_PROGRAM_BYTES = 64 * 1024 * 1024


def look_at_signals(settings: Settings) -> Iterator[Finding]:
    """Nothing where no reports are wanted."""
    if not settings.tlsrpt.socket:
        return
    yield _queue()
    yield _socket(Path(settings.tlsrpt.socket))


def is_built_with_tlsrpt(instance: Instance) -> bool | None:
    """None: its programs cannot be read."""
    is_known = False
    for parameter, name in _PROGRAMS:
        path = Path(instance.get(parameter) or "/nonexistent") / name
        try:
            with path.open("rb") as file:
                if _SIGN in file.read(_MAX_PROGRAM_BYTES):
                    return True
            is_known = True
        except OSError:
            continue
    return False if is_known else None


def _queue() -> Finding:
    length = read_queue_length()
    if length >= WANTED_QUEUE_LENGTH:
        return Finding(Grade.GOOD, "queue-length", f"the kernel lets {length} datagrams wait")
    text = f"net.unix.max_dgram_qlen is {length}: of a burst of TLS sessions, most are lost"
    return Finding(Grade.PROBLEM, "queue-length", text, QUEUE_LENGTH_FIX)


def _socket(path: Path) -> Finding:
    if len(bytes(path)) > MAX_PATH_BYTES:
        text = f"{path} is longer than {MAX_PATH_BYTES} bytes, the most for a socket"
        return Finding(Grade.PROBLEM, "signal-socket", text, "[tlsrpt] socket = a shorter path")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(str(path))
        why = closed_to_others(path)
    except OSError as error:
        text = f"{path}: {error.strerror or error}: Postfix's TLS sessions are not counted"
        fix = "start mailward sender run; journalctl -u mailward-sender"
        return Finding(Grade.PROBLEM, "signal-socket", text, fix)
    if why:
        # not a problem where it is meant so, by groups
        text = f"{why}: Postfix's user must be its owner or in its group"
        fix = 'chmod o+x the folder, or [tlsrpt] socket_mode = "666"'
        return Finding(Grade.ADVICE, "signal-socket-closed", text, fix)
    return Finding(Grade.GOOD, "signal-socket", f"{path} takes TLS sessions")


def closed_to_others(path: Path) -> str:
    """Why Postfix's user may not connect, by the permissions of the file and its folders; empty: it may."""
    if not path.stat().st_mode & 0o002:
        return f"{path} may not be written by others (socket_mode)"
    for folder in path.parents:
        if not folder.stat().st_mode & 0o001:
            return f"{folder} may not be entered by others"
    return ""
