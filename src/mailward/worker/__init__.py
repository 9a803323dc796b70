"""What follows from a commit: the loop over the outbox, and the work that time brings.

    outbox item -> handlers.HANDLERS[kind] -> done, or another attempt later

Each kind has a loop of its own, so that a relay that does not answer keeps nobody else waiting. Several
workers may run on one database: the outbox hands each piece of work to one of them. A handler gets a batch,
does it at least once, and says which items failed; whatever it raises is logged, and the items come back.
"""

from mailward.worker.loop import run, run_once

__all__ = ["run", "run_once"]
