"""MX records and the addresses of MX hosts (RFC 5321 section 5.1, RFC 7505)."""

from collections import Counter
from collections.abc import Iterator

from mailward.core.check.codes import Code
from mailward.core.check.facts import MxHost, Reach
from mailward.core.check.finding import Finding
from mailward.core.check.view import View
from mailward.core.explain.explanation import Severity
from mailward.core.names import InvalidName, check_ldh, is_address


def mx_records(view: View) -> Iterator[Finding]:
    mx, domain = view.facts.mx, view.facts.domain
    if mx.has_failed:
        yield Finding(Code.MX_LOOKUP_FAILED, Severity.CRITICAL, domain, (f"MX {domain}: {mx.reason}",))
        return
    roots = [record for record in mx.records if _is_root(record)]
    if roots and (len(mx.records) > 1 or roots[0].partition(" ")[0] != "0"):
        # RFC 7505 §3: preference 0, and no other MX record
        yield Finding(Code.MX_NULL_MISUSED, Severity.WARNING, domain, _shown(view))
    elif roots:
        yield Finding(Code.MX_NULL, Severity.NOTICE, domain, _shown(view))
    if is_null(view):
        return
    if mx.was_found:
        names = Counter(record.partition(" ")[2] for record in mx.records)
        for name, count in names.items():
            if count > 1:
                evidence = tuple(f"MX {record}" for record in mx.records if record.endswith(f" {name}"))
                yield Finding(Code.MX_DUPLICATE, Severity.NOTICE, name, evidence)
    elif any(host.addresses for host in view.facts.hosts):
        # RFC 5321 §5.1: without MX records the domain is its own host
        yield Finding(Code.MX_IMPLICIT, Severity.NOTICE, domain, (f"MX {domain}: none",))


def mx_hosts(view: View) -> Iterator[Finding]:
    hosts = view.facts.hosts
    dead = [host for host in hosts if _is_dead(host)]
    if hosts and len(dead) == len(hosts):
        evidence = tuple(_say_addresses(host) for host in dead)
        yield Finding(Code.MX_NOWHERE, Severity.CRITICAL, view.facts.domain, evidence)
        dead = []
    for host in dead:
        code = Code.MX_HOST_ADDRESS if is_address(host.name) else Code.MX_HOST_UNRESOLVABLE
        yield Finding(code, Severity.WARNING, host.name, (_say_addresses(host),))
    for host in hosts:
        chain = host.v4.chain or host.v6.chain
        if chain and view.facts.mx.was_found:
            aliases = f"{host.name} CNAME {' CNAME '.join(chain)}"
            yield Finding(Code.MX_HOST_CNAME, Severity.WARNING, host.name, (aliases,))
        if not _is_host_name(host.name):
            evidence = (f"MX {host.name}",)
            yield Finding(Code.MX_HOST_SYNTAX, Severity.WARNING, host.name, evidence)
        private = [session for session in host.sessions if session.reach is Reach.FORBIDDEN]
        if private:
            reasons = tuple(session.reason for session in private)
            yield Finding(Code.MX_HOST_PRIVATE, Severity.WARNING, host.name, reasons)


def is_null(view: View) -> bool:
    """RFC 7505: the MX record `0 .` says that the domain takes no mail; beside others senders pass over it."""
    records = view.facts.mx.records
    return bool(records) and all(_is_root(record) for record in records)


def _is_root(record: str) -> bool:
    return record.partition(" ")[2] in (".", "")


def _is_host_name(name: str) -> bool:
    """An address in its place is a fault of its own."""
    if is_address(name):
        return True
    try:
        check_ldh(name)
    except InvalidName:
        return False
    return True


def takes_mail(view: View) -> bool:
    """Whether there is a host that mail could be delivered to, or at least may be one."""
    return not is_null(view) and not (view.facts.hosts and all(_is_dead(host) for host in view.facts.hosts))


def _is_dead(host: MxHost) -> bool:
    return not host.addresses and not host.v4.has_failed and not host.v6.has_failed


def _say_addresses(host: MxHost) -> str:
    return f"A {host.name}: {host.v4.found}; AAAA {host.name}: {host.v6.found}"


def _shown(view: View) -> tuple[str, ...]:
    return tuple(f"MX {record}" for record in view.facts.mx.records)
