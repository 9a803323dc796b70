"""From what DNS said about a domain's MX hosts to whether DANE protects it (RFC 7672 section 2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How one lookup ended."""

    SECURE = "secure"
    """Found, and DNSSEC proved it."""
    INSECURE = "insecure"
    """Found, or said to be absent, without proof."""
    ABSENT = "absent"
    """Proved not to exist."""
    FAILED = "failed"
    """No answer, a server's failure, or a bogus one: the resolver does not tell them apart."""


class HostState(StrEnum):
    USABLE = "usable"
    """Postfix will authenticate it by its TLSA records, or not deliver to it."""
    UNUSABLE = "unusable"
    """TLSA records, but none that SMTP clients use: TLS without authentication (RFC 7672 §2.2)."""
    WITHOUT = "without"
    """No TLSA records, or none that DNSSEC proves."""
    FAILED = "failed"
    """A lookup failed: the host is unreachable, for us as for Postfix (RFC 7672 §2.1.2)."""
    DEAD = "dead"
    """It has no address: nobody delivers to it."""


class DaneState(StrEnum):
    OFF = "off"
    """Not asked: no resolver that validates, or switched off."""
    ABSENT = "absent"
    PARTIAL = "partial"
    FULL = "full"
    UNKNOWN = "unknown"
    """A lookup failed that could have shown DANE, and no host is known to be without."""


@dataclass(frozen=True, slots=True)
class Host:
    name: str
    state: HostState
    reason: str = ""
    """Why, with the question that failed where one did."""


@dataclass(frozen=True, slots=True)
class DaneFinding:
    state: DaneState
    reason: str = ""
    hosts: tuple[Host, ...] = ()


def judge(mx: Outcome, hosts: Sequence[Host], reason: str = "") -> DaneFinding:
    """`mx`: how the lookup of the MX records ended; SECURE too where their absence is proved and the domain is
    its own host. `reason`: why that lookup failed.
    """
    hosts = tuple(hosts)
    if mx is Outcome.FAILED:
        return DaneFinding(DaneState.UNKNOWN, reason)
    if mx is not Outcome.SECURE:
        # RFC 7672 §2.2.1: whoever can forge the MX records can name hosts with TLSA records of their own
        return DaneFinding(DaneState.ABSENT, reason or "the MX records are not secured by DNSSEC")
    states = {host.state for host in hosts}
    failed = "; ".join(host.reason for host in hosts if host.state is HostState.FAILED)
    if HostState.USABLE in states:
        # a host that failed is no reason to fall back: Postfix skips it, and delivers to the next
        if states <= {HostState.USABLE, HostState.FAILED, HostState.DEAD}:
            return DaneFinding(DaneState.FULL, failed, hosts)
        return DaneFinding(DaneState.PARTIAL, _without(hosts), hosts)
    if HostState.UNUSABLE in states:
        return DaneFinding(DaneState.PARTIAL, "no MX host has TLSA records that can be used", hosts)
    if HostState.FAILED in states and HostState.WITHOUT in states:
        # RFC 7672 §2.1: what fails is skipped host by host. A host is without TLSA records only where DNSSEC proves it,
        # so nobody brings a domain here by making lookups fail, and waiting would protect no mail to that host
        return DaneFinding(DaneState.PARTIAL, f"{_without(hosts)}; {failed}", hosts)
    if HostState.FAILED in states:
        return DaneFinding(DaneState.UNKNOWN, failed, hosts)
    return DaneFinding(DaneState.ABSENT, "no MX host has TLSA records", hosts)


def _without(hosts: tuple[Host, ...]) -> str:
    names = [host.name for host in hosts if host.state in (HostState.WITHOUT, HostState.UNUSABLE)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"no usable TLSA records: {', '.join(names[:3])}{more}"
