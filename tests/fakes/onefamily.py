"""A machine with one address family: a network of its own, with loopback, and without a way to anybody else.

    with without_ways(): ...        # what opens a socket in this thread is in there

What is at ::1 and in 127.0.0.0/8 can be reached; every other address has no route, as the whole of IPv6 has none on a
machine with IPv4 alone.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_NEWNET = 0x40000000
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@contextmanager
def without_ways() -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        assert libc.unshare(_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            assert libc.setns(before, _NEWNET) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(before)
