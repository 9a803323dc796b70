"""How the processes of a survey begin: forked from one that has imported all they need while the list is read.

Begun anew, each would take a third of a second of a processor for its imports; forked from us, each would hold our
files.
"""

import contextlib
import ctypes
import gc
import multiprocessing
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

from mailward.probe.surveyways import SurveyWays

_IMPORTED = ["mailward.survey.worker", "mailward.survey.export"]
_GC = (50_000, 20, 20)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_KEPT_BYTES = 32 * 1024 * 1024


def prepare_processes() -> ForkServerContext:
    """What to make processes with; where none was made so far, the one that they are forked from begins now."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    forkserver.ensure_running()
    return context


def work(connection: "Connection[bytes, bytes]", ways: SurveyWays) -> None:
    """What a worker process does."""
    from mailward.survey import worker  # which imports what the crew's own process has no use for

    worker.work(connection, ways)


def collect_seldom() -> None:
    """Rows are many objects, and none of them a cycle: looking for some takes a tenth of the time by the defaults."""
    gc.freeze()
    gc.set_threshold(*_GC)


def keep_memory() -> None:
    """What is freed stays with the process: TLS needs as much again a moment later, and glibc would have the kernel
    clear the same pages each time.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        glibc = ctypes.CDLL(None)
        glibc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        glibc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
