"""Reports whose DKIM key could not be asked for: tried again for three days, then they stay unverified."""

from datetime import timedelta

from django.conf import settings as django_settings

from mailward.config import Settings
from mailward.core.dkim import find_signatures
from mailward.ingest.accept import judge_content
from mailward.ingest.keys import KeyFinder, make_key_resolver
from mailward.net import clock
from mailward.net.resolver import Resolver
from mailward.store.aio import in_store
from mailward.store.models import Trust
from mailward.store.services import outbox
from mailward.store.services.incoming import Judgement
from mailward.store.services.judging import find_pending, settle_pending

KIND = "verify"
GIVE_UP_AFTER = timedelta(days=3)
_SHORTEST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=4)


async def verify_again(report_id: int, *, resolver: Resolver | None = None) -> None:
    """Judge a pending report once more. Where DNS is still silent, ask to be called again later."""
    pending = await in_store(find_pending, report_id)
    if pending is None:
        return
    settings: Settings = django_settings.MAILWARD
    finder = KeyFinder(resolver or make_key_resolver(settings.dns))
    keys = await finder.find(find_signatures(pending.content))
    # as of its arrival: a signature that was valid then does not expire while it waits
    address = f"{pending.address_token}@{settings.reports.domain}"
    judgement = judge_content(pending.content, keys, pending.received_at, address)
    if judgement.trust is Trust.PENDING:
        age = clock.now() - pending.received_at
        if age < GIVE_UP_AFTER:
            # waits as long as it is old: each wait doubles it
            later = clock.now() + min(max(age, _SHORTEST_WAIT), _LONGEST_WAIT)
            await in_store(outbox.put, KIND, str(report_id), None, later)
            return
        detail = f"DNS gave no answer for three days. {judgement.detail}"
        judgement = Judgement(Trust.UNVERIFIED, judgement.dkim, detail)
    await in_store(settle_pending, report_id, judgement)
