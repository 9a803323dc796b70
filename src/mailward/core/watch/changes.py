"""What changed between two checks, in a few words each: the entries of a timeline."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from mailward.core.certificate import Certificate, read_chain
from mailward.core.check.facts import Facts, Lookup, MxHost
from mailward.core.check.finding import Finding
from mailward.core.check.run import Report
from mailward.core.check.view import View
from mailward.core.explain.checks import explain_finding
from mailward.core.watch.sameness import is_own

MAX_CHANGES = 30
_MAX_CHARACTERS = 200
_Key = tuple[str, str]


def describe(before: Report, after: Report) -> tuple[str, ...]:
    """Findings first. Strangers' words are in it, not yet made safe."""
    told = [*_findings(before, after), *_records(before.facts, after.facts), *_hosts(before, after)]
    if before.grade is not None and after.grade is not None and before.grade.letter != after.grade.letter:
        told.insert(0, f"Grade {after.grade.letter}, was {before.grade.letter}")
    return tuple(each[:_MAX_CHARACTERS] for each in told[:MAX_CHANGES])


def place(about: str) -> str:
    """The host or name that a finding is about."""
    return (urlsplit(about).hostname or about) if about.startswith("https://") else about


def _findings(before: Report, after: Report) -> Iterator[str]:
    old = {_key(finding): finding for finding in before.findings}
    new = {_key(finding): finding for finding in after.findings}
    for key, finding in new.items():
        if key not in old:
            yield f"New: {_say(finding)}"
        elif old[key].severity is not finding.severity:
            yield f"Now {finding.severity}, was {old[key].severity}: {_say(finding)}"
    for key, finding in old.items():
        if key not in new:
            yield f"Gone: {_say(finding)}"


def _key(finding: Finding) -> _Key:
    return finding.code.value, finding.about


def _say(finding: Finding) -> str:
    return f"{explain_finding(finding.code).title} ({place(finding.about)})"


def _records(before: Facts, after: Facts) -> Iterator[str]:
    for old, new, what in (
        (before.mx, after.mx, "MX records"),
        (before.sts, after.sts, "MTA-STS record"),
        (before.tlsrpt, after.tlsrpt, "TLS report record"),
    ):
        if told := _lookup(old, new):
            yield f"{what}: {told}"
    old_policy, new_policy = View(before).served, View(after).served
    if old_policy != new_policy:
        if old_policy is None or new_policy is None:
            yield "Policy: no longer served" if new_policy is None else "Policy: served"
            return
        for name in ("mode", "max_age_seconds", "mx"):
            was, now = getattr(old_policy, name), getattr(new_policy, name)
            if was != now:
                yield f"Policy: {name.removesuffix('_seconds')} is {_value(now)}, was {_value(was)}"


def _value(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _lookup(old: Lookup, new: Lookup) -> str:
    if old.has_failed or new.has_failed:
        if old.has_failed is new.has_failed:
            return ""
        return "the DNS does not answer" if new.has_failed else "the DNS answers again"
    added = [f"+ {record}" for record in new.records if record not in old.records]
    removed = [f"- {record}" for record in old.records if record not in new.records]
    told = ", ".join([*added, *removed])
    if not told and old.is_secure != new.is_secure:
        return "proved by DNSSEC now" if new.is_secure else "no longer proved by DNSSEC"
    return told


def _hosts(before: Report, after: Report) -> Iterator[str]:
    old = {host.name: host for host in before.facts.hosts}
    for host in after.facts.hosts:
        if (was := old.get(host.name)) is not None:
            yield from _host(was, host, after.facts.domain)


def _host(was: MxHost, host: MxHost, domain: str) -> Iterator[str]:
    if is_own(host.name, domain):
        for old, new in ((was.v4, host.v4), (was.v6, host.v6)):
            if told := _lookup(old, new):
                yield f"{host.name}, {new.kind}: {told}"
    for old, new in zip(was.tlsa, host.tlsa, strict=False):
        if told := _lookup(old, new):
            yield f"{new.name}, TLSA: {told}"
    leaves = {each.der for each in _leaves(was)}
    for leaf in _leaves(host):
        if leaves and leaf.der not in leaves:
            yield f"{host.name}: another certificate, by {leaf.issuer}, until {leaf.not_after:%Y-%m-%d}"
    old_suites, new_suites = _suites(was), _suites(host)
    if new_suites and not old_suites:
        yield f"{host.name}: cipher suites asked for, {len(new_suites)} accepted"
    elif old_suites and new_suites and old_suites != new_suites:
        gained = [f"+ {each}" for each in sorted(new_suites - old_suites)]
        lost = [f"- {each}" for each in sorted(old_suites - new_suites)]
        yield f"{host.name}, cipher suites: {', '.join(gained + lost)}"


def _suites(host: MxHost) -> set[str]:
    """Each as `TLSv1.2 NAME`; empty: they were not asked for."""
    asked = [each.depth.ciphers for each in host.sessions if each.depth and each.depth.ciphers]
    return {f"{version} {name}" for ciphers in asked for version, names in ciphers.accepted for name in names}


def _leaves(host: MxHost) -> tuple[Certificate, ...]:
    found = {}
    for session in host.sessions:
        for leaf in read_chain(session.tls.chain[:1]) if session.tls else ():
            found[leaf.der] = leaf
    return tuple(found.values())
