"""One connection to a place where a service of ours should be: who answers there, and with which certificate."""

import asyncio
from dataclasses import dataclass

from mailward.core.check.facts import Reach, Tls
from mailward.doctor.places import Service, Talk
from mailward.doctor.subject import Subject, reason
from mailward.net import reach
from mailward.net.guard import Guard
from mailward.net.mailer import own_name
from mailward.net.sealing import KEY_FILE, Keyring, load_keyring
from mailward.net.smtpdial import Caller, Patience, dial
from mailward.net.tlsdial import TlsFailed, look_at_tls
from mailward.net.zonelook import NotServed, ask_serial

_SECONDS = 5.0
_OPERATORS_OWN = Guard(allow_private=True)
_BANNER = "Mailward"


@dataclass(frozen=True, slots=True)
class Heard:
    reach: Reach
    """SPOKE: somebody answers; REFUSED and SILENT: nobody does."""
    detail: str = ""
    """One clause."""
    is_other: bool = False
    """Somebody who is not us."""
    tls: Tls | None = None
    tls_trouble: str = ""


async def knock(
    subject: Subject, service: Service, address: str, port: int, *, name: str = "", only_tcp: bool = False
) -> Heard:
    """`name`: the one that led to the address; else that of the service's certificate."""
    if only_tcp:
        return await _knock_tcp(address, port)
    host = name if name and service.talk is not Talk.SMTP else service.host
    if service.talk is Talk.HTTPS:
        return await _knock_tls(subject, host, address, port)
    if service.talk is Talk.SMTP:
        return await _knock_smtp(subject, host, address, port)
    if service.talk is Talk.DNS:
        return await _knock_dns(service.host, address, port)
    if service.talk is Talk.CHALLENGE and (keyring := _keyring(subject)) is not None:
        return await _knock_challenge(host, address, port, keyring)
    return await _knock_tcp(address, port)


async def _knock_tls(subject: Subject, host: str, address: str, port: int) -> Heard:
    try:
        tls = await look_at_tls(host, address, port, ca_file=subject.ca_file, seconds=_SECONDS)
    except TlsFailed as error:
        return Heard(Reach.SPOKE, "answers", tls_trouble=str(error))
    except OSError as error:
        return _silent(error)
    return Heard(Reach.SPOKE, "answers", tls=tls)


async def _knock_smtp(subject: Subject, host: str, address: str, port: int) -> Heard:
    patience = Patience(connect=_SECONDS, answer=10.0, total=15.0)
    ehlo_name = subject.settings.watch.ehlo_name or own_name()
    caller = Caller(ehlo_name, _OPERATORS_OWN, subject.ca_file, port, patience)
    session = await dial(host, address, caller)
    if session.reach is not Reach.SPOKE:
        return Heard(session.reach, session.reason or session.banner or "nothing is said there")
    banner = " ".join(session.banner.split())[:80]
    is_ours = _BANNER in banner
    return Heard(session.reach, banner, not is_ours, session.tls, session.tls_error or session.starttls_reply)


async def _knock_dns(zone: str, address: str, port: int) -> Heard:
    try:
        over_udp = await ask_serial(zone, address, port)
        await ask_serial(zone, address, port, tcp=True)
    except NotServed as error:
        reach_ = Reach.SPOKE if error.answered else Reach.REFUSED
        return Heard(reach_, str(error), is_other=error.answered)
    return Heard(Reach.SPOKE, f"answers for {zone} over UDP and TCP, serial {over_udp}")


async def _knock_challenge(host: str, address: str, port: int, keyring: Keyring) -> Heard:
    seen = await reach.look_at(host, address, port, keyring=keyring)
    if seen.reach is reach.Reach.OURS:
        return Heard(Reach.SPOKE, "answers as a CA wants it")
    if seen.reach is reach.Reach.ELSEWHERE:
        return Heard(Reach.SPOKE, seen.detail, is_other=True)
    return Heard(Reach.REFUSED, seen.detail)


async def _knock_tcp(address: str, port: int) -> Heard:
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except OSError as error:
        return _silent(error)
    writer.close()
    return Heard(Reach.SPOKE, "answers")


def _silent(error: OSError) -> Heard:
    refused = isinstance(error, ConnectionRefusedError)
    return Heard(Reach.REFUSED if refused else Reach.SILENT, reason(error).lower())


def _keyring(subject: Subject) -> Keyring | None:
    """None where this user may not read the key, or there is none: a look never makes one."""
    settings = subject.settings
    if not settings.key and not (settings.data_path / KEY_FILE).exists():
        return None
    try:
        return load_keyring(settings)
    except OSError:
        return None
