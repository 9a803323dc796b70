"""What systemd and a service tell each other: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).

A few lines each, so no library is needed. A socket of systemd's outlives the process.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

FIRST_FD = 3  # SD_LISTEN_FDS_START
VARIABLES = (
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
)
"""For this process alone: no child is to take them for its own."""


def take_sockets(environ: Mapping[str, str]) -> list[tuple[str, socket.socket]]:
    """The sockets that systemd passes to this process, each with its name (FileDescriptorName=)."""
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(environ.get("LISTEN_FDS", "0"))
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += ["unknown"] * (count - len(names))
    return [(names[index], socket.socket(fileno=FIRST_FD + index)) for index in range(count)]


def notify(state: str, environ: Mapping[str, str]) -> None:
    """Tell systemd, such as `READY=1`. Without systemd, nothing."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), address)


def watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """How long systemd waits for `WATCHDOG=1`; None: it does not watch this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isdigit() and int(text) else None
