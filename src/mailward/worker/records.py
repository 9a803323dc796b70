"""Checks the records of one domain and keeps what was seen."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable
from datetime import timedelta

from django.db.models import QuerySet

from mailward.config import Settings
from mailward.core.names import Domain as DomainName
from mailward.monitor.everyserver import check_servers
from mailward.monitor.records import DomainFacts, RecordKey, RecordState, State, check_records
from mailward.net import clock
from mailward.net.guard import make_probe_guard
from mailward.net.resolver import make_resolver
from mailward.store.aio import in_store
from mailward.store.models import Domain, RecordCheck
from mailward.store.services import outbox
from mailward.store.services.domains import ClaimHeld, record_states, verify_claim
from mailward.store.services.progress import look_again
from mailward.store.services.upkeep import settle_records
from mailward.store.services.watching import look_soon
from mailward.worker.watch import FetchQuota

_log = logging.getLogger(__name__)


async def check_domain(settings: Settings, domain_id: int) -> tuple[RecordState, ...]:
    """Ask for each record that the domain should publish, and keep the answers; a claim that is seen counts.

    Returns the states, empty where the domain is gone.
    """
    facts = await in_store(facts_of, settings, domain_id)
    if facts is None:
        return ()
    resolver, guard = make_resolver(settings.dns), make_probe_guard(settings)
    quota = FetchQuota(settings.watch.fetches_per_hour)
    looks: list[Awaitable[tuple[RecordState, ...]]] = [
        check_records(facts, resolver=resolver, guard=guard, quota=quota)
    ]
    if facts.policy_id is not None:
        looks.append(check_servers(facts, resolver, clock.now()))
    states, *others = await asyncio.gather(*looks)
    await in_store(_keep, settings, domain_id, (*states, *itertools.chain(*others)))
    return states


def facts_of(settings: Settings, domain_id: int) -> DomainFacts | None:
    """What the check needs to know; None: there is no such domain."""
    domain = known(Domain.objects.filter(pk=domain_id)).first()
    return None if domain is None else read_facts(settings, domain)


def known(domains: QuerySet[Domain]) -> QuerySet[Domain]:
    """With all that `read_facts` looks at."""
    return domains.select_related("current_version", "announced_version", "organisation")


def read_facts(settings: Settings, domain: Domain) -> DomainFacts:
    version = domain.current_version
    return DomainFacts(
        name=DomainName(domain.name),
        claim_token=domain.claim_token,
        report_address=f"{domain.report_token}@{settings.reports.domain}",
        # RFC 8461 §8.1: the id of what is served; a newer one is told once every policy host serves its text
        policy_id=domain.announced_version.policy_id if version and domain.announced_version else None,
        organisation_address=f"{domain.organisation.report_token}@{settings.reports.domain}",
        policy_host_name=settings.policy_host.public_name,
        delegation=f"{domain.delegation_token}.{settings.nameserver.zone}"
        if settings.nameserver.zone
        else None,
        policy_text=version.text if version else None,
        name_servers=settings.nameserver.server_names if settings.nameserver.policy_addresses else (),
        is_proved=domain.claim_verified_at is not None,
    )


def _keep(settings: Settings, domain_id: int, states: tuple[RecordState, ...]) -> None:
    held = RecordCheck.objects.filter(domain_id=domain_id, state=State.RIGHT)
    was_right = set(held.values_list("record", flat=True))
    try:
        record_states(domain_id, states)
        if (
            settings.watch.enabled
            and {state.key for state in states if state.state is State.RIGHT} - was_right
        ):
            look_soon(domain_id)
        if any(state.key is RecordKey.STS and state.state is State.RIGHT for state in states):
            look_again(domain_id)
        if settle_records(domain_id, [state.key for state in states], settings.problems):
            later = clock.now() + timedelta(minutes=settings.watch.confirm_minutes)
            outbox.put("records", str(domain_id), available_at=later)
        if any(state.key is RecordKey.CLAIM and state.state is State.RIGHT for state in states):
            verify_claim(domain_id)
    except Domain.DoesNotExist:
        # deleted while we asked
        return
    except ClaimHeld:
        _log.info("claim-held-by-another", extra={"domain": domain_id})
