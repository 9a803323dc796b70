"""Once an hour: is our clock right? The kernel is asked, and the policy hosts of `watch.clock_domains`."""

import logging
import socket

from mailward.config import Settings
from mailward.core.watch.clockskew import judge_clock
from mailward.net.kernelclock import is_synchronised
from mailward.net.othersclocks import ask_clocks
from mailward.store.aio import in_store
from mailward.store.services.notifications import set_clock

_log = logging.getLogger(__name__)


async def check_clock(settings: Settings) -> str:
    """Remember, and return, what is wrong; empty: nothing that can be seen from here."""
    is_right, detail = judge_clock(await ask_clocks(settings), is_synchronised=is_synchronised())
    if detail:
        _log.log(logging.WARNING if is_right else logging.ERROR, "clock", extra={"detail": detail})
    await in_store(set_clock, socket.gethostname(), is_right, detail)
    return detail
