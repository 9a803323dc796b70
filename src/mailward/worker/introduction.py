"""Once a day: is our name in EHLO one that MX hosts take?"""

import logging

from mailward.config import Settings
from mailward.net.introduction import find_trouble
from mailward.net.resolver import make_resolver
from mailward.store.aio import in_store
from mailward.store.services import mxlooks

_log = logging.getLogger(__name__)


async def check_introduction(settings: Settings) -> str:
    """Remember, and return, what is wrong with our name in EHLO; empty: nothing that can be seen from here."""
    trouble = await find_trouble(settings, make_resolver(settings.dns))
    if trouble:
        _log.warning("ehlo-name", extra={"detail": trouble})
    await in_store(mxlooks.set_introduction, trouble)
    return trouble
