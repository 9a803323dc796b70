"""Every service, at each place where we listen and at each address where the world looks for it."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto

from mailward.core.acme.settings import public_names
from mailward.core.check.facts import Reach, Tls
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor import presented
from mailward.doctor.knocking import Heard, knock
from mailward.doctor.places import Service, Talk, nearby, services, shown
from mailward.doctor.process import read_running
from mailward.doctor.standing import SupervisorSilent, ask_standing
from mailward.doctor.subject import Findings, Subject, good, unseen
from mailward.net.guard import Guard

_MAX_ADDRESSES = 8
_OURS = Guard()


class _State(Enum):
    UP = auto()
    """Or not known: this user may not look."""
    STARTING = auto()
    DOWN = auto()


async def _state(subject: Subject) -> _State:
    folder = subject.settings.data_path
    try:
        running = read_running(folder)
        if running is None:
            return _State.DOWN
        standing = await ask_standing(folder) if running.is_starting else ()
    except (PermissionError, SupervisorSilent):
        return _State.UP
    if standing and all(each.serves for each in standing):
        return _State.UP
    return _State.STARTING if running.is_starting else _State.UP


async def look_at_inbound(subject: Subject) -> Findings:
    settings = subject.settings
    state = await _state(subject)
    mx_hosts = [host for name in public_names(settings.reports.domain) for host in await _mx(subject, name)]
    works: list[Awaitable[list[Finding]]] = []
    for service in services(settings, mx_hosts):
        works += [_look_here(subject, service, place, state) for place in service.listen]
        works += [_look_from_outside(subject, service, name) for name in service.names]
        if service.setting == "policy_host.listen":
            works += [_look_at_node(subject, service, place, state) for place in settings.policy_nodes]
    for finding in _merge([each for found in await asyncio.gather(*works) for each in found]):
        yield finding
    if not subject.is_trial:
        yield unseen("a firewall in front of this machine is not seen from here", _outside(subject))


def _merge(found: Sequence[Finding]) -> Iterator[Finding]:
    """What one change mends is told once, with the first place where it shows."""
    alike: dict[tuple[str, str], dict[str, Finding]] = {}
    for each in found:
        alike.setdefault((each.code, each.fix or each.text), {})[each.text] = each
    for first, *others in (list(texts.values()) for texts in alike.values()):
        more = f"; the same at {len(others)} more place{'s' if len(others) > 1 else ''}" if others else ""
        yield replace(first, text=first.text + more)


async def _mx(subject: Subject, domain: str) -> Sequence[str]:
    answer = await subject.resolver.mx(domain)
    # RFC 5321 §5.1: without MX records the domain's own address is meant
    return answer.records[:_MAX_ADDRESSES] if answer.found else [domain]


async def _look_here(
    subject: Subject, service: Service, place: tuple[str, int], state: _State
) -> list[Finding]:
    address, port = place
    is_proxied = service.wants_header(nearby(address))
    heard = await knock(subject, service, nearby(address), port, only_tcp=is_proxied)
    where = f"{service.name} at {shown(address, port)}"
    if state is _State.DOWN:
        if heard.reach is not Reach.SPOKE:
            return [unseen(f"{where}: not looked at, since Mailward does not run")]
        text = f"{where}: Mailward does not run, and another program listens there"
        return [tell("port-taken", text, f"see which: ss -tulpn | grep :{port}; or change {service.setting}")]
    if heard.reach is not Reach.SPOKE and state is _State.STARTING:
        return [unseen(f"{where}: not there yet, since Mailward has just been started")]
    if heard.reach is not Reach.SPOKE:
        fix = f"see why: journalctl -u mailward; {service.setting} and {service.port_setting} say where it listens"
        return [tell("nobody-listens", f"{where}: {heard.detail}", fix)]
    if heard.is_other:
        text = f"{where}: {heard.detail}"
        return [
            tell("other-server", text, f"see which: ss -tulpn | grep :{port}; or change {service.setting}")
        ]
    if is_proxied:
        return [good(f"{where}: answers; a proxy on this machine is in front, and brings the PROXY header")]
    return [*_tell_tls(subject, service, f"{service.name}, {shown(address, port)}", heard)]


async def _look_at_node(
    subject: Subject, service: Service, place: tuple[str, int], state: _State
) -> list[Finding]:
    """Whether a node of `policy_host.nodes` answers: ids wait for each of them."""
    address, port = place
    if not subject.settings.policy_host.nodes or (_OURS.is_own(address) and state is not _State.UP):
        return []
    heard = await knock(subject, service, address, port, only_tcp=bool(service.proxies))
    where = f"node {shown(address, port)}"
    if heard.reach is Reach.SPOKE:
        return [good(f"{where}: answers")]
    own = subject.settings.nameserver
    settings = ["policy_host.nodes"] + [
        name
        for name, named in (("policy_addresses", own.policy_addresses), ("servers", own.servers))
        if any(address in each for each in named)
    ]
    text = f"{where}: {heard.detail}; no new policy is announced before it serves it"
    fix = (
        f"start it; if it does not come back, take {address} out of {' and nameserver.'.join(settings)} on each "
        f"other node, and out of the DNS of {service.host}, then restart them (docs/database.md)"
    )
    return [tell("node-away", text, fix)]


def _tell_tls(subject: Subject, service: Service, where: str, heard: Heard) -> Iterator[Finding]:
    """Of a service that answers."""
    if service.talk not in (Talk.HTTPS, Talk.SMTP):
        yield good(f"{where}: {heard.detail}")
        return
    if heard.tls is None:
        yield from _without_tls(subject, service, where, heard)
        return
    leaf, wrong = presented.judge(subject, service.host, where, heard.tls)
    # RFC 8460 §3: who delivers reports by mail takes any certificate
    if service.talk is Talk.SMTP and wrong:
        text = f"{wrong[0].text}; reports come all the same"
        wrong = [] if subject.is_trial else [tell("door-certificate", text, wrong[0].fix)]
    yield from wrong
    if leaf is not None and not wrong:
        kind = "of the development CA, " if presented.is_development(leaf) else ""
        yield good(
            f"{where}: answers with {_version(heard.tls)}, certificate {kind}until {leaf.not_after:%Y-%m-%d}"
        )


def _without_tls(subject: Subject, service: Service, where: str, heard: Heard) -> Iterator[Finding]:
    if service.talk is Talk.SMTP:
        text = f"{where}: answers without STARTTLS{f' ({heard.tls_trouble})' if heard.tls_trouble else ''}"
        yield tell(
            "no-starttls",
            text,
            f"a certificate for {service.host} or for the HTTPS door is missing: {_how_to_get_one(subject)}",
        )
    elif service.has_front or (service.talk is Talk.HTTPS and not public_names(service.host)):
        # a front answers with certificates of its own, or nobody comes by that name
        yield good(f"{where}: answers; there is no certificate for {service.host} here ({heard.tls_trouble})")
    else:
        text = f"{where}: no TLS for {service.host}: {heard.tls_trouble}"
        yield tell("certificate-missing", text, _how_to_get_one(subject))


def _how_to_get_one(subject: Subject) -> str:
    if subject.settings.acme.directories:
        return "mailward doctor --only certificates"
    file = subject.settings.data_path / "certs" / "NAME.pem"
    return f"put one with its chain and key at {file}, or set acme.directories"


async def _look_from_outside(subject: Subject, service: Service, name: str) -> list[Finding]:
    answer = await subject.resolver.addresses(name)
    if not answer.found:
        return []  # `names` tells it
    addresses = answer.records[:_MAX_ADDRESSES]
    knocks = [knock(subject, service, address, service.port, name=name) for address in addresses]
    found: list[Finding] = []
    for address, heard in zip(addresses, await asyncio.gather(*knocks), strict=True):
        where = f"{name} at {shown(address, service.port)}"
        found += _judge_outside(subject, service, where, address, heard)
    return found


def _judge_outside(
    subject: Subject, service: Service, where: str, address: str, heard: Heard
) -> Iterator[Finding]:
    if heard.reach is Reach.SPOKE:
        if heard.is_other and service.talk is Talk.SMTP:
            text = (
                f"{where}: another mail server answers ({heard.detail}); it has to hand report mail on to us"
            )
            fix = (
                f"its transport table: {subject.settings.reports.domain} "
                f"smtp:[127.0.0.1]:{subject.settings.smtp_port}, and send a test report from a domain's page"
            )
            yield tell("other-mail-server", text, fix)
        elif heard.is_other:
            yield tell(
                "other-server",
                f"{where}: {heard.detail}",
                f"let the name lead to this machine, or what listens there to {service.setting}",
            )
        else:
            yield from _tell_tls(subject, service, where, heard)
    elif _OURS.is_own(address):
        place = shown(*service.listen[0])
        text = f"{where}: {heard.detail}; this is an address of this machine, and we listen at {place}"
        yield tell("not-reached", text, _forward(service, address))
    else:
        yield unseen(
            f"{where}: not observed from here ({heard.detail}); this machine does not have the address, and from "
            "within a network its public address often does not answer"
        )


def _forward(service: Service, address: str) -> str:
    wildcard = "::" if ":" in address else "0.0.0.0"  # noqa: S104 - nothing is bound here
    _, port = service.listen[0]
    if port == service.port:
        return f'{service.setting} = "{wildcard}"'
    return (
        f'{service.setting} = "{wildcard}" and {service.port_setting} = {service.port}, or a port '
        f"forward from {service.port} to {port}"
    )


def _version(tls: Tls) -> str:
    return tls.version.replace("TLSv", "TLS ")


def _outside(subject: Subject) -> str:
    names = public_names(subject.settings.policy_host.public_name)
    if not names:
        return ""
    return f"from a machine elsewhere: curl -sS https://{names[0]}/ and mailward check DOMAIN"
