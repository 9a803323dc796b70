"""Whether an instance logs what `core.tlsrpt.joining` needs, where we look for it, and what exactly to change."""

import re
from collections.abc import Iterator

from mailward.core.doctor.finding import Finding, Grade
from mailward.core.postfix.maincf import Instance, Service

LOG_LEVEL = "smtp_tls_loglevel"
# TLS_README: numbers, or names of what is to be logged
_TELLS_CONNECTIONS = {"1", "2", "3", "4", "5", "routine", "summary", "debug", "ssl-expert", "ssl-developer"}


def examine_log(instance: Instance, log: str) -> Iterator[Finding]:
    """`log`: the setting, a path or `journal`."""
    yield from _place(instance, log)
    quiet = [service for service in instance.clients if not _tells_connections(instance, service)]
    for service in quiet:
        value = instance.get_for(service, LOG_LEVEL) or "0"
        text = (
            f"{service} has {LOG_LEVEL} {value}: its log does not tell mail over TLS from mail in the clear,"
            " and none of it is counted"
        )
        yield Finding(Grade.PROBLEM, "log-without-tls", text, _fix(instance, service))
    blind = [service for service in instance.clients if service not in quiet]
    for service in blind:
        if "untrusted" not in _words(instance.get_for(service, LOG_LEVEL)):
            text = f"{service}: under a testing policy Postfix looks at no certificate, and calls all of them good"
            yield Finding(Grade.ADVICE, "certificates-not-looked-at", text, _fix(instance, service))
    if instance.clients and not quiet:
        yield Finding(Grade.GOOD, "log", f"{LOG_LEVEL} tells of TLS connections")


def _place(instance: Instance, log: str) -> Iterator[Finding]:
    file = instance.get("maillog_file")
    if file and file != log:
        text = f"this Postfix logs to {file}, and tlsrpt.log is {log}"
        yield Finding(Grade.PROBLEM, "log-elsewhere", text, f'[tlsrpt] log = "{file}"')


def _tells_connections(instance: Instance, service: Service) -> bool:
    return bool(_words(instance.get_for(service, LOG_LEVEL)) & _TELLS_CONNECTIONS)


def _words(value: str) -> set[str]:
    return {word.lower() for word in re.split(r"[,\s|]+", value)}


def _fix(instance: Instance, service: Service) -> str:
    if LOG_LEVEL in service.overrides:
        return f"postconf -c {instance.config_directory} -PX {service}/{LOG_LEVEL}"
    return f"postconf -c {instance.config_directory} -e '{LOG_LEVEL} = summary,untrusted'"
