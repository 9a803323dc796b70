"""Our own names in DNS: policy host, report domain, the name that we give to mail servers."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterator

from mailward.core.acme.settings import public_names
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.subject import Findings, Subject, good, unseen
from mailward.net.answers import Answer, Status
from mailward.net.introduction import find_trouble, own_address
from mailward.net.mailer import own_name

_EXAMPLES = {"A": "192.0.2.1", "AAAA": "2001:db8::1"}


async def look_at_names(subject: Subject) -> Findings:
    if subject.is_trial:
        yield good("no name of ours is one of the Internet: nothing is to be found in DNS")
        return
    settings, resolver = subject.settings, subject.resolver
    hosts = public_names(settings.policy_host.public_name, settings.https_name, *_zone_servers(subject))
    answers = await asyncio.gather(*(resolver.addresses(host) for host in hosts))
    for host, answer in zip(hosts, answers, strict=True):
        yield _tell_addresses(host, answer)
    for domain in public_names(settings.reports.domain):
        yield await _tell_mx(subject, domain)
    if not settings.watch.enabled or not settings.watch.from_here:
        return
    trouble = await find_trouble(settings, resolver)
    if trouble:
        name = settings.watch.ehlo_name or own_name()
        text, fix = trouble.rstrip("."), '[watch] ehlo_name = "NAME", whose A, AAAA and PTR records agree'
        if not name.startswith("["):
            fix += f"\n{name}. IN A {_own('A')}\n(and of the address, at who gave it to you) IN PTR {name}."
        yield tell("ehlo-name", text, fix)
    else:
        yield good(
            f"{settings.watch.ehlo_name or own_name()} is our name in EHLO, and nothing speaks against it"
        )


def _zone_servers(subject: Subject) -> Iterator[str]:
    """Of the zone, outside of it: those inside are the delegation's."""
    zone = subject.settings.nameserver.zone
    return (name for name in subject.settings.nameserver.server_names if not name.endswith(f".{zone}"))


def _tell_addresses(host: str, answer: Answer[str]) -> Finding:
    if answer.status is Status.FAILED:
        return unseen(f"{host} cannot be looked up: {answer.reason}")
    if not answer.found:
        return tell(
            "no-address",
            f"{host} has no address in DNS",
            f"{host}. IN A {_own('A')}\n{host}. IN AAAA {_own('AAAA')}",
        )
    private = [each for each in answer.records if not ipaddress.ip_address(each).is_global]
    if private:
        text = f"{host} leads to {private[0]}, which nobody outside of your network reaches"
        return tell("private-address", text, f"{host}. IN A {_own('A')}")
    return good(f"{host} leads to {', '.join(answer.records[:6])}")


async def _tell_mx(subject: Subject, domain: str) -> Finding:
    answer = await subject.resolver.mx(domain)
    if answer.status is Status.FAILED:
        return unseen(f"the MX records of {domain} cannot be looked up: {answer.reason}")
    if answer.found:
        return good(f"{domain} has the MX {', '.join(answer.records[:6])}")
    # RFC 5321 §5.1: without MX records the address is the implicit one
    if (await subject.resolver.addresses(domain)).found:
        return good(f"{domain} has no MX record, and takes mail at its address")
    host = subject.settings.policy_host.public_name
    return tell(
        "no-mx", f"no mail can reach {domain}: it has neither MX nor address", f"{domain}. IN MX 10 {host}."
    )


def _own(kind: str) -> str:
    """The address of this machine to put into a record; an example where it has none of the Internet."""
    found = own_address(socket.AF_INET6 if kind == "AAAA" else socket.AF_INET)
    return found if found and ipaddress.ip_address(found).is_global else _EXAMPLES[kind]
