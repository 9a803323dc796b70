"""What time it is elsewhere, as the policy hosts of `watch.clock_domains` say it (Date)."""

import asyncio
import logging
from pathlib import Path

from mailward.config import Settings
from mailward.core.names import InvalidName, parse_domain
from mailward.net import clock
from mailward.net.fetch import FetchError, fetch_policy
from mailward.net.guard import make_guard
from mailward.net.resolver import Resolver, make_resolver

_log = logging.getLogger(__name__)
_MOST_DOMAINS = 10


async def ask_clocks(settings: Settings) -> list[float]:
    """How many seconds each of those that say it is ahead of us."""
    resolver = make_resolver(settings.dns)
    names = settings.watch.clock_domains[:_MOST_DOMAINS]
    asked = await asyncio.gather(*(_offset(settings, resolver, name) for name in names))
    return [each for each in asked if each is not None]


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
