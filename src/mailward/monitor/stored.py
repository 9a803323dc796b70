"""The records of a domain that the platform holds: asked, kept, and a right claim noted."""

import logging

from mailward.config import Settings
from mailward.core.names import Domain as Name
from mailward.monitor.expected import DomainFacts, RecordKey, RecordState, State
from mailward.monitor.records import check_records
from mailward.net.guard import Guard
from mailward.net.resolver import make_resolver
from mailward.store.aio import in_store
from mailward.store.models import Domain
from mailward.store.services.domains import ClaimHeld, record_states, verify_claim

_log = logging.getLogger(__name__)


def facts_of(domain: Domain, settings: Settings) -> DomainFacts:
    """What the checks need of a row; reads `current_version`."""
    version = domain.current_version
    return DomainFacts(
        name=Name(domain.name),
        claim_token=domain.claim_token,
        report_address=f"{domain.report_token}@{settings.reports.domain}",
        policy_id=version.policy_id if version else None,
        policy_host_name=settings.policy_host.public_name,
        policy_text=version.text if version else None,
    )


async def check_domain(settings: Settings, domain_id: int) -> tuple[RecordState, ...]:
    """Ask for the domain's records and keep what was answered. Raises Domain.DoesNotExist."""
    facts = await in_store(_load_facts, settings, domain_id)
    resolver, guard = make_resolver(settings.dns), Guard(settings.dns.allow_private_addresses)
    states = await check_records(facts, resolver=resolver, guard=guard)
    await in_store(_keep, domain_id, states)
    return states


def _load_facts(settings: Settings, domain_id: int) -> DomainFacts:
    return facts_of(Domain.objects.select_related("current_version").get(pk=domain_id), settings)


def _keep(domain_id: int, states: tuple[RecordState, ...]) -> None:
    record_states(domain_id, states)
    if any(state.key is RecordKey.CLAIM and state.state is State.RIGHT for state in states):
        try:
            verify_claim(domain_id)
        except ClaimHeld as held:
            _log.warning("claim-held", extra={"domain": str(held)})
