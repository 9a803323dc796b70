"""The service zone as the world finds it: NS records at the parent, and every server with the same serial."""

import asyncio
from dataclasses import dataclass

from mailward.config import Settings
from mailward.core.dns.nameserver import parse_secondary
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.places import shown
from mailward.doctor.subject import Findings, Subject, good, unseen
from mailward.net.answers import Status
from mailward.net.guard import Guard
from mailward.net.zonelook import NotServed, ask_serial

_MAX_SERVERS = 13
_MAX_ADDRESSES = 4
_HERE = Guard()


@dataclass(frozen=True, slots=True)
class _Asked:
    """One server at one address, over one transport."""

    name: str
    address: str
    over: str
    serial: int | None
    trouble: str
    is_lame: bool


async def look_at_delegation(subject: Subject) -> Findings:
    settings = subject.settings
    zone = settings.nameserver.zone
    if not zone:
        yield good("no zone is served here (nameserver.zone): there is nothing to delegate")
        return
    answer = await subject.resolver.delegation(zone)
    if answer.status is Status.FAILED:
        yield unseen(f"the servers of the zone above {zone} cannot be asked: {answer.reason}")
        return
    ours = {name.lower().removesuffix(".") for name in settings.nameserver.server_names}
    if not answer.found:
        yield tell("not-delegated", f"the zone above does not hand {zone} on to anybody", _records(settings))
        return
    theirs = {name.lower().removesuffix(".") for name in answer.records[:_MAX_SERVERS]}
    for finding in _compare(settings, theirs, ours):
        yield finding
    for finding in await _ask_servers(subject, zone, sorted(theirs)):
        yield finding


def _compare(settings: Settings, theirs: set[str], ours: set[str]) -> list[Finding]:
    zone = settings.nameserver.zone
    if theirs == ours:
        return [good(f"{zone} is handed on to {', '.join(sorted(theirs))}, as the settings say")]
    if not theirs & ours:
        text = (
            f"{zone} is handed on to {', '.join(sorted(theirs))}, and none of them is in nameserver.servers"
        )
        return [tell("delegated-elsewhere", text, _records(settings))]
    text = f"at the parent stand {', '.join(sorted(theirs))}, in nameserver.servers {', '.join(sorted(ours))}"
    return [tell("delegation-differs", text, _records(settings))]


async def _ask_servers(subject: Subject, zone: str, names: list[str]) -> list[Finding]:
    answers = await asyncio.gather(*(subject.resolver.addresses(name) for name in names))
    found, asked = [], []
    for name, answer in zip(names, answers, strict=True):
        if answer.status is Status.FAILED:
            found.append(unseen(f"{name} cannot be looked up: {answer.reason}"))
        elif not answer.found:
            inside = name == zone or name.endswith(f".{zone}")
            where = "in the zone above, as glue: " if inside else ""
            text = f"{name}, which {zone} is handed on to, has no address"
            found.append(tell("no-glue", text, f"{where}{name}. IN A 192.0.2.1"))
        for address in answer.records[:_MAX_ADDRESSES]:
            asked += [_ask(subject, zone, name, address, tcp=tcp) for tcp in (False, True)]
    seen = await asyncio.gather(*asked)
    return [*found, *_judge(subject, zone, seen)]


async def _ask(subject: Subject, zone: str, name: str, address: str, *, tcp: bool) -> _Asked:
    over = "TCP" if tcp else "UDP"
    try:
        serial = await ask_serial(zone, address, subject.settings.doctor.dns_port, tcp=tcp)
    except NotServed as error:
        return _Asked(name, address, over, None, str(error), error.answered)
    return _Asked(name, address, over, serial, "", is_lame=False)


def _judge(subject: Subject, zone: str, seen: list[_Asked]) -> list[Finding]:
    found, translated = [], _translated(subject, {each.address for each in seen})
    for each in seen:
        if each.serial is not None:
            continue
        where = f"{each.name} at {each.address} over {each.over}: {each.trouble}"
        if each.is_lame:
            fix = (
                f"make {zone} a secondary zone there, with its transfers from us ([nameserver] transfer_keys)"
            )
            found.append(tell("server-lame", where, fix))
        elif each.address in translated:
            found.append(
                unseen(
                    f"{where}; this machine does not have the address, which may be its own as the world sees it"
                )
            )
        else:
            port = subject.settings.doctor.dns_port
            found.append(
                tell(
                    "server-silent",
                    where,
                    f"let {each.over} port {port} through to {shown(each.address, port)}",
                )
            )
    serials = {each.serial: each for each in seen if each.serial is not None}
    if len(serials) > 1:
        said = "; ".join(f"{each.name} has {serial}" for serial, each in sorted(serials.items()))
        fix = (
            "a moment after a change that passes; else see NOTIFY and transfers: [nameserver] "
            "secondaries, transfer_keys"
        )
        found.append(tell("serials-differ", f"the servers of {zone} do not have the same state: {said}", fix))
    elif serials and not found:
        addresses = {each.address for each in seen}
        text = f"{len(addresses)} addresses answer for {zone} over UDP and TCP, all with serial {next(iter(serials))}"
        found.append(good(text))
    return found


def _translated(subject: Subject, addresses: set[str]) -> set[str]:
    """Those that may be this machine's own in front of address translation, where it cannot reach itself."""
    settings = subject.settings
    if any(_HERE.is_own(address) for address in addresses):
        return set(settings.dns.own_addresses)  # it has one itself: the others are other machines
    others = {parse_secondary(text).address for text in settings.nameserver.secondaries}
    named = {each for server in settings.nameserver.ns_records for each in server.addresses}
    return {*settings.dns.own_addresses, *(named - others)}


def _records(settings: Settings) -> str:
    """What has to stand in the zone above."""
    own = settings.nameserver
    lines = [f"{own.zone}. IN NS {name}." for name in own.server_names]
    for server in own.ns_records:
        if server.name.endswith(f".{own.zone}"):
            known = server.addresses or ("192.0.2.1",)
            lines += [f"{server.name}. IN {'AAAA' if ':' in each else 'A'} {each}" for each in known]
    return "\n".join(lines)
