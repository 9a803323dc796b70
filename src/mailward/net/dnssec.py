"""Whether the resolver's word about DNSSEC can be believed: asked at start, and again all the time.

The AD bit is worth as much as the path to whoever sets it, and some forwarders pass it on without a look. So
the resolver must be on loopback, must call a secure name secure, and must refuse a name whose signatures are
wrong.
"""

from dataclasses import dataclass
from enum import StrEnum

from mailward.net.resolver import Resolver, Status


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
