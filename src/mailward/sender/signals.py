"""What the parent opens for signals of TLS sessions before it has children: they outlive every one of them."""

import contextlib
import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from mailward.config import Settings
from mailward.sender import ownqueue
from mailward.sender.inbox import Inbox
from mailward.sender.receive import LONG_QUEUE, PROBE, Intake
from mailward.sender.ring import Ring
from mailward.sender.signalnumbers import Number, SignalNumbers
from mailward.sender.sockets import bind_datagram_socket, take_datagram_sockets

logger = logging.getLogger("mailward.sender")

WANTED_QUEUE_LENGTH = LONG_QUEUE
OWN_QUEUE_LENGTH = 4096
_PER_SENDER = 64
_SO_PASSCRED = 16
QUEUE_LENGTH_FILE = ownqueue.LENGTH_FILE
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
    """Of that socket; no higher than what is wanted, where somebody else made it."""


def open_signals(settings: Settings) -> Signals | None:
    """None where no reports are wanted. Raises ListenError. The process must have no other threads."""
    if not settings.tlsrpt.socket:
        return None
    handed_over = take_datagram_sockets(os.environ)
    source, length = (handed_over[0], 0) if handed_over else make_socket()
    source.setsockopt(socket.SOL_SOCKET, _SO_PASSCRED, 1)  # before anything comes: from which process it came
    ring = Ring()
    if handed_over:
        length = _measure(source, Intake(ring, source, WANTED_QUEUE_LENGTH, in_order=True))
    else:
        bind_datagram_socket(source, Path(settings.tlsrpt.socket), int(settings.tlsrpt.socket_mode, 8))
    if length < WANTED_QUEUE_LENGTH:
        logger.warning("signal-queue-short", extra={"length": length, "fix": QUEUE_LENGTH_FIX})
    numbers = SignalNumbers()
    numbers.set(Number.QUEUE_LENGTH, length)
    return Signals(source, ring, Inbox(), numbers, length)


def make_socket() -> tuple[socket.socket, int]:
    """One for datagrams that is not bound yet, and how many of them its queue takes."""
    length = read_queue_length()
    if length < WANTED_QUEUE_LENGTH:
        try:
            return ownqueue.make_socket(OWN_QUEUE_LENGTH), OWN_QUEUE_LENGTH
        except OSError as error:
            logger.info("signal-queue-not-own", extra={"reason": error.strerror or str(error)})
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), length


def _measure(source: socket.socket, intake: Intake) -> int:
    """Of a socket that somebody else made: what waits in it goes to the ring first, so does what comes meanwhile."""
    intake.take_rest()
    try:
        length = _fill(source.getsockname())
    except OSError:  # we may not send to it
        return read_queue_length()
    intake.take_rest()
    return length


def read_queue_length() -> int:
    """How many datagrams the kernel lets wait in sockets that are made now (a sysctl of each network namespace)."""
    try:
        return int(QUEUE_LENGTH_FILE.read_text())
    except (OSError, ValueError):
        return measure_queue_length()  # the hardened unit hides /proc/sys


def measure_queue_length() -> int:
    """The same, tried on a socket of our own; no higher than what is wanted."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("")  # the kernel chooses a name
        return _fill(receiver.getsockname())


def _fill(address: str | bytes) -> int:
    """How many datagrams a socket takes that nobody reads; no more than what is wanted. Raises OSError."""
    with contextlib.ExitStack() as stack:
        sent = 0
        while sent <= WANTED_QUEUE_LENGTH:
            if sent % _PER_SENDER == 0:  # each has a buffer of its own, which is full sooner
                sender = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                sender.setblocking(False)
                sender.connect(address)
            try:
                sender.send(PROBE)
            except BlockingIOError:
                break
            sent += 1
        return max(sent - 1, 0)  # one more than the limit fits in
