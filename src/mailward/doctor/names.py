"""Our own names in DNS: policy host, report domain and its MX, the name that we give to mail servers."""

import asyncio
from collections.abc import Iterator

from mailward.core.acme.settings import public_names
from mailward.core.doctor.catalogue import tell
from mailward.doctor.subject import Findings, Subject, good
from mailward.doctor.world import look_at_host, look_at_mx, own_record, tell_host, tell_mx
from mailward.net.introduction import find_trouble
from mailward.net.mailer import own_name

_MAX_MX = 4


async def look_at_names(subject: Subject) -> Findings:
    if subject.is_trial:
        yield good("no name of ours is one of the Internet: nothing is to be found in DNS")
        return
    settings, resolver = subject.settings, subject.resolver
    hosts = public_names(settings.policy_host.public_name, settings.https_name, *_zone_servers(subject))
    mailing = [await look_at_mx(resolver, domain) for domain in public_names(settings.reports.domain)]
    for seen in await asyncio.gather(*(look_at_host(resolver, host) for host in hosts)):
        for finding in tell_host(seen):
            yield finding
    for mail in mailing:
        for finding in tell_mx(mail, settings.policy_host.public_name):
            yield finding
    others = [host for mail in mailing for host in mail.hosts[:_MAX_MX] if host not in hosts]
    for seen in await asyncio.gather(*(look_at_host(resolver, host) for host in dict.fromkeys(others))):
        for finding in tell_host(seen, is_ours=False):
            yield finding
    if not settings.watch.enabled or not settings.watch.from_here:
        return
    trouble = await find_trouble(settings, resolver)
    if trouble:
        name = settings.watch.ehlo_name or own_name()
        text, fix = trouble.rstrip("."), '[watch] ehlo_name = "NAME", whose A, AAAA and PTR records agree'
        if not name.startswith("["):
            fix += f"\n{name}. IN A {own_record('A')}\n(and of the address, at who gave it to you) IN PTR {name}."
        yield tell("ehlo-name", text, fix)
    else:
        yield good(
            f"{settings.watch.ehlo_name or own_name()} is our name in EHLO, and nothing speaks against it"
        )


def _zone_servers(subject: Subject) -> Iterator[str]:
    """Of the zone, outside of it: those inside are the delegation's."""
    zone = subject.settings.nameserver.zone
    return (name for name in subject.settings.nameserver.server_names if not name.endswith(f".{zone}"))
