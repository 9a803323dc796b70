"""What the parent opens for signals of TLS sessions before it has children: they outlive every one of them."""

import contextlib
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from mailward.config import Settings
from mailward.sender.inbox import Inbox
from mailward.sender.ring import Ring
from mailward.sender.signalnumbers import Number, SignalNumbers
from mailward.sender.sockets import open_datagram_socket, take_datagram_sockets

logger = logging.getLogger("mailward.sender")

WANTED_QUEUE_LENGTH = 512  # no loss at 40,000 datagrams a second
_PER_SENDER = 64
_SO_PASSCRED = 16
QUEUE_LENGTH_FILE = Path("/proc/sys/net/unix/max_dgram_qlen")
QUEUE_LENGTH_FIX = (
    f"echo net.unix.max_dgram_qlen={WANTED_QUEUE_LENGTH} > /etc/sysctl.d/60-mailward.conf"
    " && sysctl --system, then restart what made the socket"
)


@dataclass(frozen=True, slots=True)
class Signals:
    socket: socket.socket
    """Where Postfix sends its datagrams."""
    ring: Ring
    """Where who takes them leaves them."""
    inbox: Inbox
    numbers: SignalNumbers
    queue_length: int


def open_signals(settings: Settings) -> Signals | None:
    """None where no reports are wanted. Raises ListenError."""
    if not settings.tlsrpt.socket:
        return None
    length = read_queue_length()
    if length < WANTED_QUEUE_LENGTH:
        logger.warning("signal-queue-short", extra={"length": length, "fix": QUEUE_LENGTH_FIX})
    handed_over = take_datagram_sockets(os.environ)
    mode = int(settings.tlsrpt.socket_mode, 8)
    source = handed_over[0] if handed_over else open_datagram_socket(Path(settings.tlsrpt.socket), mode)
    source.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)  # before anything comes: from which process it came
    numbers = SignalNumbers()
    numbers.set(Number.QUEUE_LENGTH, length)
    return Signals(source, Ring(), Inbox(), numbers, length)


def read_queue_length() -> int:
    """How many datagrams the kernel lets wait in sockets that are made now (a sysctl of each network namespace)."""
    try:
        return int(QUEUE_LENGTH_FILE.read_text())
    except (OSError, ValueError):
        return measure_queue_length()  # the hardened unit hides /proc/sys


def measure_queue_length() -> int:
    """The same, tried on a socket of our own; no higher than what is wanted."""
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        receiver.bind("")  # the kernel chooses a name
        sent = 0
        while sent <= WANTED_QUEUE_LENGTH:
            if sent % _PER_SENDER == 0:  # each has a buffer of its own, which is full sooner
                sender = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                sender.setblocking(False)
                sender.connect(receiver.getsockname())
            try:
                sender.send(b"")
            except BlockingIOError:
                break
            sent += 1
        return max(sent - 1, 0)  # one more than the limit fits in
