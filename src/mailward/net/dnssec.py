"""Whether the resolver's word about DNSSEC can be believed: asked at start, and again all the time.

The AD bit is worth as much as the path to whoever sets it, and some forwarders pass it on without a look. So
the resolver must be on loopback, must call a secure name secure, and must refuse a name whose signatures are
wrong.
"""

from dataclasses import dataclass
from enum import StrEnum

from mailward.net import clock
from mailward.net.resolver import Resolver, Status

KEPT_SECONDS = 3600.0
MISSING_KEPT_SECONDS = 300.0
"""Who mends the resolver need not wait for long."""


class Trust(StrEnum):
    VALIDATES = "validates"
    DOES_NOT = "does-not"
    NOT_KNOWN = "not-known"
    """It could not be asked. Somebody may want DANE to be off: what was known before stays."""


@dataclass(frozen=True, slots=True)
class Validation:
    trust: Trust
    reason: str
    """One sentence."""


async def check_validation(resolver: Resolver, secure_name: str, bogus_name: str) -> Validation:
    if not resolver.is_local:
        return Validation(
            Trust.DOES_NOT, "a resolver is not on loopback: what it says of DNSSEC can be forged on the way"
        )
    secure = await resolver.lookup(secure_name, "SOA")
    if secure.status is Status.FAILED:
        return Validation(
            Trust.NOT_KNOWN, f"the secure name {secure_name} cannot be looked up: {secure.reason}"
        )
    if not secure.authenticated:
        return Validation(
            Trust.DOES_NOT, f"the resolver does not validate: it does not call {secure_name} secure"
        )
    bogus = await resolver.lookup(bogus_name, "A")
    if bogus.status is Status.NXDOMAIN and bogus.authenticated:
        reason = f"the bogus name {bogus_name} does not exist: name another one (dnssec_bogus_name)"
        return Validation(Trust.NOT_KNOWN, reason)
    if bogus.status is not Status.FAILED:
        return Validation(
            Trust.DOES_NOT, f"the resolver does not validate: it answers for the bogus {bogus_name}"
        )
    if "SERVFAIL" not in bogus.reason:
        return Validation(Trust.NOT_KNOWN, f"the bogus name {bogus_name} cannot be looked up: {bogus.reason}")
    return Validation(Trust.VALIDATES, "the resolver validates")


class KnownValidation:
    """What `check_validation` said of the resolver that was asked of last, for an hour at most."""

    def __init__(self) -> None:
        self._kept: tuple[object, float, Validation] | None = None

    async def look(self, resolver: Resolver, secure_name: str, bogus_name: str) -> Validation:
        key = (resolver.servers, secure_name, bogus_name)
        if self._kept is not None and self._kept[0] == key and clock.monotonic() < self._kept[1]:
            return self._kept[2]
        found = await check_validation(resolver, secure_name, bogus_name)
        seconds = KEPT_SECONDS if found.trust is Trust.VALIDATES else MISSING_KEPT_SECONDS
        self._kept = key, clock.monotonic() + seconds, found
        return found
