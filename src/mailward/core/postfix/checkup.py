"""What in a Postfix instance does not fit a policy server beside it, and what exactly to change."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from mailward.core.doctor.finding import Finding, Grade
from mailward.core.postfix.maincf import Instance, Service, SocketmapTable, parse_socketmap, split_tables
from mailward.core.postfix.socketmap import Dialect, dialect_of

MAPS = "smtp_tls_policy_maps"
# What a service may not have for itself alone without protecting otherwise than the rest
_TELLING = (
    MAPS,
    "smtp_tls_security_level",
    "smtp_tls_CAfile",
    "smtp_tls_CApath",
    "smtp_dns_support_level",
    "relayhost",
)
_CATCHES_ALL = ("static:", "fail:")


@dataclass(frozen=True, slots=True)
class Ours:
    """What our own settings say."""

    places: tuple[str, ...]
    """`address:port` or `unix:/path`."""
    default_level: str
    looks_for_dane: bool


def examine(instance: Instance, ours: Ours) -> list[Finding]:
    """Everything that can be told without touching the network, for this instance."""
    if not instance.clients:
        return [
            Finding(Grade.ADVICE, "no-client", "master.cf has no service that runs smtp: it sends no mail")
        ]
    rules = (_version, _level, _authorities, _dns, _log_level, _relays, _lifetime)
    found = [finding for rule in rules for finding in rule(instance, ours)]
    found += _tables(instance, instance.get(MAPS), instance.clients, ours)
    for service in instance.clients:
        found += _service(instance, service, ours)
    return found


def our_tables(
    instance: Instance, value: str, services: tuple[Service, ...], ours: Ours
) -> list[SocketmapTable]:
    """Those of the list that lead to us, for at least one of the services."""
    tables = [table for text in split_tables(value) if (table := parse_socketmap(text)) is not None]
    return [
        table for table in tables if any(_leads_to_us(instance, table, service, ours) for service in services)
    ]


def table_for(instance: Instance, ours: Ours) -> str:
    """The entry for main.cf that leads to us."""
    name = "QUERYwithTLSRPT" if instance.version >= (3, 10) else "QUERY"
    place = ours.places[0] if ours.places else "127.0.0.1:8461"
    if not place.startswith("unix:"):
        return f"socketmap:inet:{place}:{name}"
    path = PurePosixPath(place.removeprefix("unix:"))
    if path.is_relative_to(instance.queue_directory):
        path = path.relative_to(instance.queue_directory)  # good in a chroot and without one
    return f"socketmap:unix:{path}:{name}"


def _set(instance: Instance, name: str, value: str) -> str:
    return f"postconf -c {instance.config_directory or '/etc/postfix'} -e '{name} = {value}'"


def _version(instance: Instance, ours: Ours) -> Iterator[Finding]:
    shown = instance.get("mail_version")
    if instance.version < (3, 4):
        text = f"Postfix {shown} does not know `servername`, which secure answers carry: they defer mail"
        yield Finding(Grade.PROBLEM, "version", text, "upgrade to Postfix 3.4 or later")
    else:
        yield Finding(Grade.GOOD, "version", f"Postfix {shown}")


def _level(instance: Instance, ours: Ours) -> Iterator[Finding]:
    level = instance.get("smtp_tls_security_level")
    if not level:
        old = instance.get("smtp_enforce_tls"), instance.get("smtp_use_tls")
        level = "encrypt" if old[0] == "yes" else "may" if old[1] == "yes" else "none"
    if level == "none":
        text = "smtp_tls_security_level is none: mail to domains without a policy goes in the clear"
        yield Finding(Grade.ADVICE, "level-none", text, _set(instance, "smtp_tls_security_level", "may"))
    if not ours.default_level:
        text = f"default_level is not told (Postfix has {level}): testing policies and partial DANE are left alone"
        if ours.looks_for_dane:
            text += ", and mail waits while DANE cannot be looked up"
        yield Finding(Grade.ADVICE, "level-not-told", text, f'[sender] default_level = "{level}"')
    elif ours.default_level != level:
        text = f"default_level is {ours.default_level}, and Postfix's smtp_tls_security_level is {level}"
        yield Finding(Grade.PROBLEM, "level-differs", text, f'[sender] default_level = "{level}"')
    else:
        yield Finding(Grade.GOOD, "level", f"smtp_tls_security_level is {level}, as default_level says")


def _authorities(instance: Instance, ours: Ours) -> Iterator[Finding]:
    file, path = instance.get("smtp_tls_CAfile"), instance.get("smtp_tls_CApath")
    if instance.get("tls_append_default_CA") == "yes" or file:
        yield Finding(
            Grade.GOOD, "authorities", f"certificates are checked with {file or 'the default store'}"
        )
    elif not path:
        text = "neither smtp_tls_CAfile nor smtp_tls_CApath is set: no certificate is trusted, `secure` mail waits"
        fix = _set(instance, "smtp_tls_CAfile", "/etc/ssl/certs/ca-certificates.crt")
        yield Finding(Grade.PROBLEM, "no-authorities", text, fix)
    elif any(service.is_chrooted for service in instance.clients):
        text = f"smtp_tls_CApath {path} is read inside the chroot; smtp_tls_CAfile is read before"
        fix = _set(instance, "smtp_tls_CAfile", "/etc/ssl/certs/ca-certificates.crt")
        yield Finding(Grade.PROBLEM, "authorities-in-chroot", text, fix)


def _dns(instance: Instance, ours: Ours) -> Iterator[Finding]:
    if not ours.looks_for_dane:
        return
    if instance.get("smtp_dns_support_level") != "dnssec":
        text = "smtp_dns_support_level is not dnssec: Postfix defers what it is told `dane-only`"
        yield Finding(Grade.PROBLEM, "no-dnssec", text, _set(instance, "smtp_dns_support_level", "dnssec"))
    else:
        yield Finding(Grade.GOOD, "dnssec", "smtp_dns_support_level is dnssec")


def _log_level(instance: Instance, ours: Ours) -> Iterator[Finding]:
    if instance.get("smtp_tls_loglevel") in ("", "0"):
        text = (
            "smtp_tls_loglevel is 0: the log does not tell which mail went over TLS, and replay cannot either"
        )
        yield Finding(Grade.ADVICE, "log-level", text, _set(instance, "smtp_tls_loglevel", "1"))


def _relays(instance: Instance, ours: Ours) -> Iterator[Finding]:
    if relayhost := instance.get("relayhost"):
        text = f"relayhost is {relayhost}: Postfix asks about it, not about the domains that mail is for"
        yield Finding(Grade.ADVICE, "relayhost", text)
    for name in ("sender_dependent_relayhost_maps", "transport_maps"):
        if tables := instance.get(name):
            text = f"{name} is {tables}: where it names a host, Postfix asks about that host"
            yield Finding(Grade.ADVICE, "other-next-hops", text)
    transport = instance.get("default_transport").partition(":")[0] or "smtp"
    if transport not in {service.name for service in instance.clients}:
        text = f"default_transport is {transport}, which is no smtp client: its mail is not protected by us"
        yield Finding(Grade.ADVICE, "other-transport", text)


def _lifetime(instance: Instance, ours: Ours) -> Iterator[Finding]:
    if lifetime := instance.get("maximal_queue_lifetime"):
        yield Finding(Grade.GOOD, "lifetime", f"mail that waits is given back after {lifetime}")


def _tables(instance: Instance, value: str, services: tuple[Service, ...], ours: Ours) -> Iterator[Finding]:
    tables = split_tables(value)
    found = our_tables(instance, value, services, ours)
    if not found:
        others = [table for table in tables if parse_socketmap(table) is None]
        fix = _set(instance, MAPS, ", ".join([*others, table_for(instance, ours)]))
        text = f"{MAPS} does not lead to us; it is {value or 'empty'}"
        yield Finding(Grade.PROBLEM, "not-asked", text, fix)
        return
    first = found[0]
    yield from _dialect(instance, first)
    if len(found) > 1:
        yield Finding(Grade.ADVICE, "asked-twice", f"{MAPS} asks us more than once: {found[1]} is not needed")
    before = tables[: tables.index(str(first))]
    if blocking := [table for table in before if table.startswith(_CATCHES_ALL)]:
        text = f"{blocking[0]} stands before {first} and answers everything: we are never asked"
        rest = [table for table in tables if table not in blocking]
        yield Finding(Grade.PROBLEM, "hidden", text, _set(instance, MAPS, ", ".join(rest)))
    elif before:
        text = f"what {', '.join(before)} answer{'s' if len(before) == 1 else ''} goes before our word"
        yield Finding(Grade.ADVICE, "order", text)
    for service in services:
        if not _leads_to_us(instance, first, service, ours):
            where = "which is chrooted" if service.is_chrooted else "which is not chrooted"
            text = f"{first} does not lead to us from {service}, {where}"
            fix = _set(instance, MAPS, value.replace(str(first), table_for(instance, ours)))
            yield Finding(Grade.PROBLEM, "chroot", text, fix)


def _dialect(instance: Instance, table: SocketmapTable) -> Iterator[Finding]:
    speaks = dialect_of(table.map_name)
    if speaks is Dialect.TLSRPT and instance.version < (3, 10):
        text = f"{table} brings TLSRPT attributes, which Postfix before 3.10 refuses: mail waits"
        fix = f"write {str(table).removesuffix(table.map_name)}QUERY"
        yield Finding(Grade.PROBLEM, "dialect", text, fix)
    elif speaks is Dialect.PLAIN and instance.version >= (3, 10):
        text = f"Postfix {instance.get('mail_version')} takes TLSRPT attributes; {table} brings none"
        fix = f"write {str(table).removesuffix(table.map_name)}QUERYwithTLSRPT"
        yield Finding(Grade.ADVICE, "dialect", text, fix)
    else:
        yield Finding(Grade.GOOD, "asked", f"{MAPS} asks {table}")


def _service(instance: Instance, service: Service, ours: Ours) -> Iterator[Finding]:
    for name in _TELLING:
        if name not in service.overrides:
            continue
        value = service.overrides[name]
        if name == MAPS and not our_tables(instance, value, (service,), ours):
            text = f"{service} has -o {name}={value}: mail by it is not protected by us"
            fix = f"postconf -c {instance.config_directory or '/etc/postfix'} -PX {service}/{name}"
            yield Finding(Grade.PROBLEM, "override", text, fix)
        else:
            text = f"{service} has -o {name}={value} for itself alone"
            yield Finding(Grade.ADVICE, "override", text)


def _leads_to_us(instance: Instance, table: SocketmapTable, service: Service, ours: Ours) -> bool:
    file = table.file(instance.queue_directory, is_chrooted=service.is_chrooted)
    if file is not None:
        return f"unix:{file}" in ours.places
    places = {place.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]") for place in ours.places}  # noqa: S104
    return table.address.replace("localhost", "127.0.0.1") in places
