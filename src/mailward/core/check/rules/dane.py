"""DANE (RFC 7672): the DNSSEC state of each step, and the TLSA records against the chains presented."""

import hashlib
from collections.abc import Iterator

from mailward.core.check.codes import Code
from mailward.core.check.finding import Finding
from mailward.core.check.view import HostView, Look, View
from mailward.core.dane.judge import HostState, Outcome
from mailward.core.dane.tlsa import DANE_EE, DANE_TA, Tlsa
from mailward.core.dane.verify import Match, fits, stale_combinations
from mailward.core.explain.explanation import Severity

_CODES = {
    Match.NAME: Code.TLSA_NAME_MISMATCH,
    Match.EXPIRED: Code.TLSA_CHAIN_EXPIRED,
}


def dnssec(view: View) -> Iterator[Finding]:
    """Lookups that fail: a sender that validates takes the host for unreachable (RFC 7672 section 2.1.2)."""
    for host in view.hosts:
        if host.dane is not HostState.FAILED:
            continue
        lookups = (host.host.v4, host.host.v6, *host.host.tlsa)
        evidence = tuple(f"{each.kind} {each.name}: {each.reason}" for each in lookups if each.has_failed)
        code = Code.DNSSEC_INVALID if view.facts.validates else Code.MX_HOST_UNRESOLVABLE
        yield Finding(code, Severity.CRITICAL, host.name, evidence)


def tlsa_records(view: View) -> Iterator[Finding]:
    if not view.facts.validates:
        return
    for host in view.hosts:
        evidence = _published(host)
        if host.dane is HostState.UNUSABLE:
            yield Finding(Code.TLSA_INVALID, Severity.WARNING, host.name, evidence)
        elif host.dane is HostState.USABLE and not all(record.is_usable for record in host.records):
            yield Finding(Code.TLSA_SOME_UNUSABLE, Severity.NOTICE, host.name, evidence)
        elif host.dane is HostState.WITHOUT and evidence:
            yield Finding(Code.TLSA_INSECURE, Severity.WARNING, host.name, evidence)
    usable = [host for host in view.hosts if host.dane is HostState.USABLE]
    if usable and view.facts.mx.outcome is Outcome.INSECURE:
        evidence = (f"MX {view.facts.domain}: not signed", *(f"{host.name}: TLSA usable" for host in usable))
        yield Finding(Code.DANE_MX_INSECURE, Severity.WARNING, view.facts.domain, evidence)
    for host in view.hosts:
        if usable and host.dane is HostState.WITHOUT and not _published(host):
            evidence = (f"TLSA _25._tcp.{host.name}: none that DNSSEC proves",)
            yield Finding(Code.DANE_PARTIAL, Severity.WARNING, host.name, evidence)


def tlsa_elsewhere(view: View) -> Iterator[Finding]:
    """Records below the domain instead of its MX host: no sender asks there (RFC 7672 section 2.2.3)."""
    for lookup in view.facts.elsewhere:
        if lookup.kind == "TLSA" and lookup.was_found:
            evidence = tuple(f"{lookup.name} TLSA {record[:160]}" for record in lookup.records[:10])
            yield Finding(Code.TLSA_MISPLACED, Severity.WARNING, lookup.name, evidence)


def tlsa_match(view: View) -> Iterator[Finding]:
    for host in view.hosts:
        if host.dane is HostState.USABLE:
            for look in host.looks:
                if look.is_encrypted:
                    yield from _compare(host, look)


def _compare(host: HostView, look: Look) -> Iterator[Finding]:
    evidence = (*_published(host), *_presented(look))
    verdict = look.dane
    stale = stale_combinations(host.records, look.chain)
    if verdict.is_authenticated:
        if stale:
            yield Finding(Code.TLSA_COMBINATION_STALE, Severity.WARNING, host.name, evidence)
    elif verdict.match in _CODES:
        yield Finding(_CODES[verdict.match], Severity.CRITICAL, host.name, evidence)
    elif stale and _fits_leaf(host.records, look):
        # RFC 7671 §9: it fits by a digest that senders do not look at while there is a stronger one
        yield Finding(Code.TLSA_COMBINATION_STALE, Severity.CRITICAL, host.name, evidence)
    else:
        usages = {record.usage for record in host.records if record.is_usable}
        code = Code.TLSA_TRUST_ANCHOR_MISSING if usages == {DANE_TA} else Code.TLSA_MISMATCH
        yield Finding(code, Severity.CRITICAL, host.name, evidence)


def _fits_leaf(records: tuple[Tlsa, ...], look: Look) -> bool:
    return any(
        record.usage == DANE_EE and record.is_usable and fits(record, look.chain[0]) for record in records
    )


def _published(host: HostView) -> tuple[str, ...]:
    return tuple(
        f"{lookup.name} TLSA {record[:160]}"
        for lookup in host.host.tlsa
        if lookup.was_found
        for record in lookup.records[:10]
    )


def _presented(look: Look) -> tuple[str, ...]:
    return tuple(
        (
            f"{look.session.address}: certificate {depth}: {certificate.subject}, key "
            f"{_key_hash(certificate.public_key)}"
        )
        for depth, certificate in enumerate(look.chain)
    )


def _key_hash(public_key: bytes) -> str:
    return f"SHA-256 {hashlib.sha256(public_key).hexdigest()}"
