"""Does a name lead to us? Asked as a CA would: by HTTP at port 80, whatever DNS does on the way (CNAME, ALIAS,
addresses, a proxy).

A random question goes to the name; only a node of ours, which has a key of ours, knows the answer to it.
"""

import asyncio
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailward.net.guard import AddressRefused, Guard
from mailward.net.resolver import Resolver, Status
from mailward.net.sealing import Keyring
from mailward.net.ways import has_way

CHALLENGE_PATH = "/.well-known/acme-challenge/"
CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 6.0
_MAX_ADDRESSES = 4
_MAX_BYTES = 8 * 1024
_QUESTION = re.compile(r"mailward-[0-9a-f]{32}", re.ASCII)
_PURPOSE = "reach"


class Reach(StrEnum):
    OURS = "ours"
    NOWHERE = "nowhere"
    """It has no address."""
    ELSEWHERE = "elsewhere"
    """Somebody answers there, who is not us."""
    SILENT = "silent"
    """Nobody answers from where we are."""
    UNKNOWN = "unknown"
    """DNS could not be asked."""


@dataclass(frozen=True, slots=True)
class Seen:
    reach: Reach
    detail: str = ""
    """One clause: what was seen."""
    addresses: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    """Of those, if others are ours: where nobody answers, though this machine has a way there."""


def answer_to(keyring: Keyring, host: str, word: str) -> str | None:
    """What a node of ours says to a question of ours; None: it is none."""
    return keyring.proofs(_PURPOSE, f"{host} {word}")[0] if _QUESTION.fullmatch(word) else None


async def look(host: str, *, resolver: Resolver, guard: Guard, keyring: Keyring, port: int = 80) -> Seen:
    """Takes as long as the resolver does, and TOTAL_SECONDS. Expected outcomes, all of them: nothing is raised."""
    answer = await resolver.addresses_authoritative(host)
    if answer.status is Status.FAILED:
        return Seen(Reach.UNKNOWN, f"DNS does not answer: {answer.reason}")
    if not answer.found:
        return Seen(Reach.NOWHERE, f"{host} has no address")
    addresses = answer.records[:_MAX_ADDRESSES]
    word = f"mailward-{secrets.token_hex(16)}"
    expected = {text.encode() for text in keyring.proofs(_PURPOSE, f"{host} {word}")}
    asked = [_ask(host, address, port, word, expected, guard) for address in addresses]
    return _judge(await asyncio.gather(*asked), addresses)


async def look_at(host: str, address: str, port: int, *, keyring: Keyring) -> Seen:
    """One address of our own, such as that which we listen on."""
    word = f"mailward-{secrets.token_hex(16)}"
    expected = {text.encode() for text in keyring.proofs(_PURPOSE, f"{host} {word}")}
    return await _ask(host, address, port, word, expected, Guard(allow_private=True))


def _judge(seen: Sequence[Seen], addresses: tuple[str, ...]) -> Seen:
    # one of ours is enough: where the others lead is for the CA to say
    for wanted in (Reach.OURS, Reach.ELSEWHERE, Reach.SILENT):
        for each in seen:
            if each.reach is wanted:
                silent = _silent(seen, addresses) if wanted is Reach.OURS else ()
                return Seen(each.reach, each.detail, addresses, silent)
    return Seen(Reach.SILENT, "", addresses)


def _silent(seen: Sequence[Seen], addresses: tuple[str, ...]) -> tuple[str, ...]:
    pairs = zip(addresses, seen, strict=True)
    return tuple(address for address, each in pairs if each.reach is Reach.SILENT and has_way(address))


async def _ask(host: str, address: str, port: int, word: str, expected: set[bytes], guard: Guard) -> Seen:
    try:
        guard.check(address)
        async with asyncio.timeout(TOTAL_SECONDS):
            head, body = await _get(host, address, port, word)
    except AddressRefused as error:
        return Seen(Reach.SILENT, str(error))
    except (OSError, TimeoutError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "no answer in time"
        return Seen(Reach.SILENT, f"{address} port {port}: {reason}")
    status = head.split(b" ", 2)[1:2]
    if status == [b"200"] and body.strip() in expected:
        return Seen(Reach.OURS)
    told = status[0].decode() if status and re.fullmatch(rb"[0-9]{3}", status[0]) else "no HTTP"
    return Seen(Reach.ELSEWHERE, f"{address} port {port} is another server (it answers {told})")


async def _get(host: str, address: str, port: int, word: str) -> tuple[bytes, bytes]:
    async with asyncio.timeout(CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(address, port, limit=_MAX_BYTES)
    try:
        writer.write(
            f"GET {CHALLENGE_PATH}{word} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: mailward\r\n\r\n".encode()
        )
        whole = b""
        while len(whole) < _MAX_BYTES and (piece := await reader.read(_MAX_BYTES - len(whole))):
            whole += piece
    finally:
        writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    return head, body
