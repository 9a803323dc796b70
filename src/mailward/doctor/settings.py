"""Settings that contradict each other, or that do not do what whoever wrote them wants."""

import ipaddress
import os
from collections.abc import Iterator
from email.utils import parseaddr
from urllib.parse import urlsplit

from mailward.config import Settings, unknown_variables
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.process import read_environment
from mailward.doctor.subject import Findings, Subject, good

_MIN_SERVERS = 2  # RFC 2182 §5


async def look_at_settings(subject: Subject) -> Findings:
    settings = subject.settings
    found = [*_variables(settings), *_console(settings), *_mail(settings), *_hosting(settings, subject)]
    for finding in found:
        yield finding
    if subject.is_trial:
        yield good("no name of the Internet is set: this installation is for trying, on this machine alone")
    elif not found:
        yield good("nothing contradicts itself")


def _variables(settings: Settings) -> Iterator[Finding]:
    given = read_environment(settings.data_path) | os.environ
    for name, likely in unknown_variables(given).items():
        fix = (
            f"{likely}=..., if that is meant"
            if likely
            else "remove it, or name the setting: MAILWARD_TABLE_KEY"
        )
        yield tell("variable-unknown", f"{name} in the environment stands for no setting", fix)


def _console(settings: Settings) -> Iterator[Finding]:
    url = urlsplit(settings.console_url)
    open_at = [host for host, _ in settings.console_places if not _is_loopback(host)]
    if open_at and url.scheme != "https":
        text = f"the console listens on {open_at[0]} and speaks plain HTTP: passwords can be read on the way"
        fix = (
            '[console] listen = "127.0.0.1", a web server with TLS in front, and public_url = "https://NAME"'
        )
        yield tell("console-in-clear", text, fix)
    elif open_at and not _is_private(open_at[0]):
        text = f"the console listens on {open_at[0]}: it can be had without TLS, past {settings.console_url}"
        yield tell("console-open", text, '[console] listen = "127.0.0.1"')
    if settings.relay.host and _is_loopback(url.hostname or ""):
        text = f"links in mails lead to {settings.console_url}, which is every reader's own machine"
        yield tell("links-lead-nowhere", text, '[console] public_url = "https://mailward.example.org"')


def _mail(settings: Settings) -> Iterator[Finding]:
    sender = parseaddr(settings.relay.sender)[1]
    domain = sender.rpartition("@")[2].lower()
    if settings.relay.host and (domain == "localhost" or "." not in domain):
        text = f"relay.sender is {settings.relay.sender}: most mail servers refuse or hide such mail"
        yield tell("sender-local", text, '[relay] sender = "mailward@example.org", a domain of yours')


def _hosting(settings: Settings, subject: Subject) -> Iterator[Finding]:
    if subject.is_trial:
        return
    reports = settings.reports.domain.lower()
    if reports.rpartition(".")[2] == "localhost":
        text = f"reports.domain is {reports}: no sender can deliver a report there"
        yield tell("reports-nowhere", text, '[reports] domain = "reports.example.org", and its MX record')
    if settings.policy_host.public_name.lower().rpartition(".")[2] == "localhost":
        text = f"policy_host.public_name is {settings.policy_host.public_name}: no domain can be led to it"
        yield tell("policies-nowhere", text, '[policy_host] public_name = "policies.example.org"')
    own = settings.nameserver
    if own.zone and len(own.server_names) < _MIN_SERVERS:
        text = f"{own.zone} has one name server: while it is away, every customer's records are gone"
        fix = f'[nameserver] servers = ["{own.server_names[0]}", "ns2.example.net"], and the other as a secondary'
        yield tell("one-name-server", text, fix)
    if settings.dns.allow_private_addresses:
        text = "dns.allow_private_addresses lets whoever adds a domain make us connect into your own network"
        yield tell("private-addresses", text, "[dns] allow_private_addresses = false")
    if settings.has_development_ca and not settings.policy_host.fronts:
        text = "missing certificates come from the development CA, which no sender trusts"
        fix = (
            '[acme] directories = ["https://CA/directory"], or [certificates] development_ca = false '
            "and your own files"
        )
        yield tell("development-ca", text, fix)


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_private(host: str) -> bool:
    """Such as the network between a container and its front."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_private and not address.is_unspecified
