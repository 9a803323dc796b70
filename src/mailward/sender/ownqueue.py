"""A datagram socket with a longer queue than the machine's.

A unix socket takes the length of its queue from the network namespace of the process that makes it
(net.unix.max_dgram_qlen), and keeps it. Where it is bound to a path, processes of every other namespace reach it. So a
child enters a namespace of its own, sets the length there, makes the socket and hands it back: nothing of the machine
is changed. It needs CAP_SYS_ADMIN, or user namespaces for everybody, as Debian has them.
"""

import ctypes
import os
import signal
import socket
import struct
from pathlib import Path

LENGTH_FILE = Path("/proc/sys/net/unix/max_dgram_qlen")
MAX_SECONDS = 5.0  # the kernel makes one namespace after the other
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000  # CLONE_NEWNET, CLONE_NEWUSER
_ANSWER = struct.Struct("i")


def make_socket(length: int) -> socket.socket:
    """Not bound yet; its queue takes so many datagrams. Raises OSError where that cannot be had.

    The process must have no other threads.
    """
    reading, writing = socket.socketpair()
    with reading:
        with writing:
            child = os.fork()
            if child == 0:
                _make(writing, length)
        reading.settimeout(MAX_SECONDS)
        try:
            answer, descriptors, _, _ = socket.recv_fds(reading, _ANSWER.size, 1)
        except OSError:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            os.waitpid(child, 0)
    if descriptors:
        return socket.socket(fileno=descriptors[0])
    error = _ANSWER.unpack(answer)[0] if len(answer) == _ANSWER.size else 0
    raise OSError(error, os.strerror(error) if error else "the child ended")


def _make(writing: socket.socket, length: int) -> None:
    """In the child, which ends with it."""
    try:
        _enter()
        LENGTH_FILE.write_text(str(length))
        if int(LENGTH_FILE.read_text()) != length:
            raise OSError(0, "")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            socket.send_fds(writing, [_ANSWER.pack(0)], [made.fileno()])
    except OSError as error:
        writing.send(_ANSWER.pack(error.errno or 0))
    finally:
        os._exit(0)


def _enter() -> None:
    """Raises OSError."""
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if unshare(_NEW_NETWORK) and unshare(_NEW_USER | _NEW_NETWORK):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
