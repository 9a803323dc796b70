"""What `mailward sender doctor` says of the socket for TLS sessions."""

import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from mailward.config import Settings
from mailward.core.doctor.finding import Finding, Grade
from mailward.core.places import parse_place
from mailward.core.postfix.maincf import Instance
from mailward.sender.signals import QUEUE_LENGTH_FIX, WANTED_QUEUE_LENGTH, read_queue_length

MAX_PATH_BYTES = 107  # sockaddr_un
UNIX_SOCKETS_FILE = Path("/proc/net/unix")
_ASK_SECONDS = 2.0
_MAX_PAGE_BYTES = 1024 * 1024
_SIGN = b"tlsrpt_open"  # what Postfix calls in libtlsrpt
_PROGRAMS = (("shlib_directory", "libpostfix-tls.so"), ("daemon_directory", "smtp"))
_MAX_PROGRAM_BYTES = 64 * 1024 * 1024


def look_at_signals(settings: Settings) -> Iterator[Finding]:
    """Nothing where no reports are wanted."""
    if not settings.tlsrpt.socket:
        return
    yield _queue(settings)
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


def _queue(settings: Settings) -> Finding:
    """The kernel does not tell how long the queue of a socket is that another process has: the daemon does."""
    length = _told_length(settings.sender.metrics_listen)
    if length is not None:
        text = f"the socket's queue takes {length} datagrams"
    elif _is_of_another_namespace(Path(settings.tlsrpt.socket)):
        text = "the socket's queue is its own; how long it is, mailward sender run tells when it starts"
        return Finding(Grade.GOOD, "queue-length", text)
    else:
        length = read_queue_length()
        text = f"net.unix.max_dgram_qlen is {length}"
    if length >= WANTED_QUEUE_LENGTH:
        return Finding(Grade.GOOD, "queue-length", text)
    text += ": of a burst of TLS sessions, many are lost"
    return Finding(Grade.PROBLEM, "queue-length", text, QUEUE_LENGTH_FIX)


def _told_length(place: str) -> int | None:
    """None: nobody answers."""
    if not place:
        return None
    connection = http.client.HTTPConnection(*parse_place(place), timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/metrics")
        page = connection.getresponse().read(_MAX_PAGE_BYTES).decode("ascii", "replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    found = re.search(r"^mailward_sender_signal_queue_length (\d{1,9})$", page, re.MULTILINE)
    return int(found[1]) if found else None


def _is_of_another_namespace(path: Path) -> bool:
    """Whether somebody listens there who made the socket in another network namespace than ours."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(str(path))
        return f" {path}\n" not in UNIX_SOCKETS_FILE.read_text()
    except OSError:
        return False


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
