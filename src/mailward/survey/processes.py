"""How the processes of a survey begin: forked from one that has imported all they need while the list is read.

Begun anew, each would take a third of a second of a processor for its imports; forked from us, each would hold our
files.
"""

import gc
import multiprocessing
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext

from mailward.probe.surveyways import SurveyWays

_IMPORTED = ["mailward.survey.worker", "mailward.survey.export"]
_GC = (50_000, 20, 20)


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
