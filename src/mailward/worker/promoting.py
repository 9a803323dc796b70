"""A domain that was ready for as long as its people chose: its MX records are asked once more, then it is enforced."""

import logging

from mailward.config import Settings
from mailward.store.aio import in_store
from mailward.store.services import rollout
from mailward.worker.changing import learn_facts

_log = logging.getLogger(__name__)


async def promote_domain(settings: Settings, domain_id: int) -> None:
    wanted = await in_store(rollout.enforcing, domain_id)
    if wanted is None:
        return
    policy, based_on = wanted
    facts = await learn_facts(settings, domain_id, policy)
    version = await in_store(rollout.promote_by_itself, domain_id, facts, based_on, settings.rollout)
    if version is not None:
        _log.info("rollout-promoted", extra={"domain_id": domain_id, "version": version.number})
