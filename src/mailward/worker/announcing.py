"""The last step of a policy change: its id is told once the policy is served (RFC 8461 section 8.1)."""

import logging

from mailward.config import Settings
from mailward.core.names import Domain as DomainName
from mailward.hosting.announce import why_not_served
from mailward.store.aio import in_store
from mailward.store.models import Domain, PolicyVersion
from mailward.store.services.policies import announce_version

_log = logging.getLogger(__name__)


async def announce_domain(settings: Settings, domain_id: int) -> str:
    """Let our nameserver tell the id of the domain's current policy; otherwise why not yet."""
    found = await in_store(_current, domain_id)
    if found is None:
        return ""
    name, version_id, text = found
    # without a nameserver nobody hears it; one that is set up later begins with what has long been served
    reason = await why_not_served(settings, name, text) if settings.nameserver.zone else ""
    if reason:
        _log.warning("policy-not-announced", extra={"domain": name, "reason": reason})
        return reason
    if await in_store(announce_version, domain_id, version_id):
        _log.info("policy-announced", extra={"domain": name})
    return ""


def _current(domain_id: int) -> tuple[DomainName, int, str] | None:
    """None: there is nothing to announce."""
    version: PolicyVersion | None
    domain = Domain.objects.select_related("current_version").filter(pk=domain_id).first()
    version = domain.current_version if domain is not None else None
    if domain is None or version is None or domain.announced_version_id == version.pk:
        return None
    return DomainName(domain.name), version.pk, version.text
