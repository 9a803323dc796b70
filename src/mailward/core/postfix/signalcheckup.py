"""What keeps a Postfix from telling us of its TLS sessions (smtp_tlsrpt_*, Postfix 3.10 and later)."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from mailward.core.doctor.finding import Finding, Grade
from mailward.core.postfix.maincf import Instance, Service

ENABLE, SOCKET_NAME = "smtp_tlsrpt_enable", "smtp_tlsrpt_socket_name"


def examine_signals(instance: Instance, place: str, *, is_built_in: bool | None) -> Iterator[Finding]:
    """`place`: our socket. `is_built_in`: whether its programs know TLSRPT; None: not known."""
    if not instance.clients:
        return
    shown = instance.get("mail_version")
    if instance.version < (3, 10):
        text = f"Postfix {shown} tells nobody of its TLS sessions: there are no reports about its mail"
        yield Finding(Grade.PROBLEM, "no-signals", text, "upgrade to Postfix 3.10, or [tlsrpt] socket empty")
        return
    if is_built_in is False:
        text = f"Postfix {shown} is built without TLSRPT (-DUSE_TLSRPT): there are no reports about its mail"
        yield Finding(
            Grade.PROBLEM, "no-signals", text, "install a build with libtlsrpt, such as Debian 13's"
        )
        return
    wrong = list(_wrong(instance, PurePosixPath(place)))
    yield from wrong
    if not wrong:
        yield Finding(Grade.GOOD, "signals", f"TLS sessions are told to {place}")


def _wrong(instance: Instance, place: PurePosixPath) -> Iterator[Finding]:
    for service in instance.clients:
        if instance.get_for(service, ENABLE) != "yes":
            text = f"{service} does not tell of its TLS sessions"
            yield Finding(Grade.PROBLEM, "signals-off", text, _set(instance, service, ENABLE, "yes"))
            continue
        name = instance.get_for(service, SOCKET_NAME)
        if not name or _leads_to(instance, service, name) != place:
            where = "chrooted" if service.is_chrooted else "not chrooted"
            text = f"{SOCKET_NAME} is {name or 'empty'}: from {service}, {where}, it does not lead to {place}"
            fix = _set(instance, service, SOCKET_NAME, _name_of(instance, place))
            yield Finding(Grade.PROBLEM, "signals-elsewhere", text, fix)


def _leads_to(instance: Instance, service: Service, name: str) -> PurePosixPath:
    """smtp(8) runs in the queue directory, and a chrooted one takes that for the root."""
    if service.is_chrooted or not name.startswith("/"):
        return PurePosixPath(instance.queue_directory) / name.lstrip("/")
    return PurePosixPath(name)


def _name_of(instance: Instance, place: PurePosixPath) -> str:
    if place.is_relative_to(instance.queue_directory):
        return str(place.relative_to(instance.queue_directory))  # good in a chroot and without one
    return str(place)


def _set(instance: Instance, service: Service, name: str, value: str) -> str:
    folder = instance.config_directory or "/etc/postfix"
    if name in service.overrides:
        return f"postconf -c {folder} -P '{service}/{name}={value}'"
    return f"postconf -c {folder} -e '{name} = {value}'"
