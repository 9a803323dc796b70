"""Once an hour: is our clock right? The kernel is asked, and the policy hosts of `watch.clock_domains`."""

import asyncio
import logging
import socket
from pathlib import Path

from mailward.config import Settings
from mailward.core.names import InvalidName, parse_domain
from mailward.core.watch.clockskew import judge_clock
from mailward.net import clock
from mailward.net.fetch import FetchError, fetch_policy
from mailward.net.guard import make_guard
from mailward.net.kernelclock import is_synchronised
from mailward.net.resolver import Resolver, make_resolver
from mailward.store.aio import in_store
from mailward.store.services.notifications import set_clock

_log = logging.getLogger(__name__)
_MOST_DOMAINS = 10


async def check_clock(settings: Settings) -> str:
    """Remember, and return, what is wrong; empty: nothing that can be seen from here."""
    resolver = make_resolver(settings.dns)
    names = settings.watch.clock_domains[:_MOST_DOMAINS]
    asked = await asyncio.gather(*(_offset(settings, resolver, name) for name in names))
    offsets = [each for each in asked if each is not None]
    is_right, detail = judge_clock(offsets, is_synchronised=is_synchronised())
    if detail:
        _log.log(logging.WARNING if is_right else logging.ERROR, "clock", extra={"detail": detail})
    await in_store(set_clock, socket.gethostname(), is_right, detail)
    return detail


async def _offset(settings: Settings, resolver: Resolver, name: str) -> float | None:
    """How many seconds it is ahead of us there; None: it does not say."""
    watch = settings.watch
    try:
        fetched = await fetch_policy(
            parse_domain(name),
            resolver=resolver,
            guard=make_guard(settings.dns),
            ca_file=Path(watch.ca_file) if watch.ca_file else None,
            port=watch.https_port,
        )
    except (FetchError, InvalidName) as error:
        # a clock that is far off makes every certificate look wrong, which is for the log to tell
        _log.info("clock-domain", extra={"domain": name, "detail": str(error)})
        return None
    if fetched.served_at is None:
        return None
    return (fetched.served_at - clock.now()).total_seconds()
