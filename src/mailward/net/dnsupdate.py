"""Changing records on somebody's own DNS server: RFC 2136, signed by TSIG (RFC 8945).

Nothing is overwritten that is not as we left it: each update says, as a prerequisite, what must stand there before
(RFC 2136 section 2.4), and the server does all of it or nothing.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
from dns.rdtypes.ANY.TXT import TXT

from mailward.net.dnsexchange import ask_by_tcp
from mailward.net.guard import AddressRefused, Guard, OwnAddressRefused

SECONDS = 10.0
TTL_SECONDS = 300
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
_MAX_SHOWN = 200
_PREREQUISITE = {dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXRRSET, dns.rcode.NXDOMAIN}
_REFUSALS = {
    dns.rcode.REFUSED: "the server refuses the update: the key may not change these records, or not this zone",
    dns.rcode.NOTAUTH: "the server does not answer for the zone, or does not know the key",
    dns.rcode.NOTZONE: "the name is not in the zone",
    dns.rcode.NOTIMP: "the server does not take updates",
    dns.rcode.FORMERR: "the server does not understand the update",
}


class UpdateFailed(Exception):
    """The text is one sentence for people."""


class Unreachable(UpdateFailed):
    """Nobody answers there, whatever is asked."""


class Declined(UpdateFailed):
    """By a server that has answered with a signature of the key: somebody there knows us."""


class Foreign(Declined):
    """Something stands there that we did not write."""


@dataclass(frozen=True, slots=True)
class Place:
    """The server that takes updates of a zone, and the key that signs them."""

    address: str
    port: int
    zone: str
    key: dns.tsig.Key


@dataclass(frozen=True, slots=True)
class Wanted:
    """All records of one type at one name."""

    name: str
    rdtype: str
    """TXT or CNAME."""
    values: tuple[str, ...]
    """Texts, or a name."""


async def replace(
    place: Place, wanted: Wanted, ours: Sequence[tuple[str, ...]], guard: Guard, *, is_forced: bool = False
) -> bool:
    """Make it so. `ours`: what we may have left there, the newest last; none: nothing. Doing it twice is the same.

    `is_forced`: whatever stands there gives way. False: it was so already. Raises UpdateFailed, Foreign.
    """
    now = await look(place, wanted.name, wanted.rdtype, guard)
    if now == in_order(wanted.values):
        return False
    if not is_forced:
        check_ours(wanted, now, ours)
    await _update(place, wanted, _make_update(place, wanted, now, is_forced=is_forced), guard)
    return True


async def remove(place: Place, wanted: Wanted, ours: Sequence[tuple[str, ...]], guard: Guard) -> bool:
    """Take away what we wrote, where it stands exactly so; whatever the values of `wanted` are.

    False: nothing is there. Raises UpdateFailed, Foreign: no force takes away what others wrote.
    """
    now = await look(place, wanted.name, wanted.rdtype, guard)
    if not now:
        return False
    check_ours(wanted, now, ours)
    update = dns.update.UpdateMessage(_name(place.zone), keyring=place.key)
    values = [_write(wanted.rdtype, value) for value in now]
    update.present(_name(wanted.name), wanted.rdtype, *values)
    update.delete(_name(wanted.name), wanted.rdtype, *values)
    await _update(place, wanted, update, guard)
    return True


def check_ours(wanted: Wanted, now: tuple[str, ...], ours: Sequence[tuple[str, ...]]) -> None:
    """Raises Foreign for what is there and is none of `ours`."""
    if now and now not in [in_order(values) for values in ours]:
        shown = ", ".join(now)[:_MAX_SHOWN]
        raise Foreign(
            f"{wanted.name} has {wanted.rdtype} {shown}, which Mailward did not write; it was left alone"
        )


def in_order(values: Sequence[str]) -> tuple[str, ...]:
    """As `look` returns them."""
    return tuple(sorted(values))


async def _update(place: Place, wanted: Wanted, update: dns.update.UpdateMessage, guard: Guard) -> None:
    """After a look, which was answered with a signature."""
    try:
        response = await _send(place, update, guard)
    except Unreachable:
        raise
    except UpdateFailed as error:
        raise Declined(str(error)) from error
    if response.rcode() in _PREREQUISITE:
        raise Foreign(f"{wanted.name} has other records, which Mailward did not write; they were left alone")
    if response.rcode() != dns.rcode.NOERROR:
        rcode = response.rcode()
        raise Declined(_REFUSALS.get(rcode, f"the server answers {dns.rcode.to_text(rcode)}"))


async def look(place: Place, name: str, rdtype: str, guard: Guard) -> tuple[str, ...]:
    """What the server has there now, in order. Raises UpdateFailed."""
    response = await _ask(place, name, rdtype, guard)
    found = response.get_rrset(
        response.answer, _name(name), dns.rdataclass.IN, dns.rdatatype.from_text(rdtype)
    )
    return tuple(sorted(map(_present, found or ())))


async def check_zone(place: Place, guard: Guard) -> None:
    """Whether the server knows the key, and answers for the zone. Raises UpdateFailed."""
    response = await _ask(place, place.zone, "SOA", guard)
    found = response.get_rrset(response.answer, _name(place.zone), dns.rdataclass.IN, dns.rdatatype.SOA)
    # one that is a resolver too, as BIND is where nobody says otherwise, knows the key and refuses the update
    if found is None or not response.flags & dns.flags.AA:
        raise Declined("the server knows the key, and has no zone of this name")


async def _ask(place: Place, name: str, rdtype: str, guard: Guard) -> dns.message.Message:
    question = dns.message.make_query(_name(name), rdtype, use_edns=0)
    question.flags = dns.flags.Flag(0)
    question.use_tsig(place.key)
    response = await _send(place, question, guard)
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        rcode = response.rcode()
        raise Declined(_REFUSALS.get(rcode, f"the server answers {dns.rcode.to_text(rcode)}"))
    return response


def _make_update(
    place: Place, wanted: Wanted, now: tuple[str, ...], *, is_forced: bool
) -> dns.update.UpdateMessage:
    update = dns.update.UpdateMessage(_name(place.zone), keyring=place.key)
    name, is_alias = _name(wanted.name), wanted.rdtype == "CNAME"
    if is_forced:
        # RFC 2136 §3.4.2.2: a server ignores a CNAME beside other data, and other data beside a CNAME
        if is_alias:
            update.delete(name)
        else:
            update.delete(name, "CNAME")
    elif now:
        update.present(name, wanted.rdtype, *(_write(wanted.rdtype, value) for value in now))
    elif is_alias:
        update.absent(name)
    else:
        update.absent(name, wanted.rdtype)
        update.absent(name, "CNAME")
    update.delete(name, wanted.rdtype)
    for value in wanted.values:
        update.add(name, TTL_SECONDS, wanted.rdtype, _write(wanted.rdtype, value))
    return update


async def _send(place: Place, message: dns.message.Message, guard: Guard) -> dns.message.Message:
    try:
        guard.check(place.address, place.port)
        return await ask_by_tcp(message, place.address, place.port, SECONDS)
    except OwnAddressRefused as error:
        raise UpdateFailed(f"{error}; settings: dns.allow_own_addresses") from error
    except AddressRefused as error:
        raise UpdateFailed(f"{error}; settings: dns.allow_private_addresses") from error
    except (dns.tsig.PeerBadKey, dns.message.UnknownTSIGKey) as error:
        raise UpdateFailed("the server does not know a key of this name") from error
    except (dns.tsig.PeerBadSignature, dns.tsig.BadSignature) as error:
        raise UpdateFailed("the secret or the algorithm of the key is not the server's") from error
    except (dns.tsig.PeerBadTime, dns.tsig.BadTime) as error:
        raise UpdateFailed("the server's clock differs from ours by more than five minutes") from error
    except (TimeoutError, dns.exception.Timeout) as error:
        raise Unreachable(f"{place.address} port {place.port} does not answer by TCP") from error
    except (OSError, EOFError) as error:
        reason = (
            os.strerror(error.errno)
            if isinstance(error, OSError) and error.errno
            else "it ended the connection"
        )
        raise Unreachable(f"{place.address} port {place.port}: {reason}") from error
    except dns.exception.FormError as error:
        # Knot, also where it knows the key and none of its acl allows this; dnspython takes no unsigned answer to a
        # signed question
        raise UpdateFailed(
            "the server does not sign its answer: it does not know the key, or the zone, or does not let the key "
            "change this record"
        ) from error
    except (dns.exception.DNSException, ValueError) as error:
        raise UpdateFailed(f"{place.address} answers what cannot be read: {type(error).__name__}") from error


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text)


def _write(rdtype: str, value: str) -> str:
    """In the form of a zone file."""
    if rdtype == "CNAME":
        return _name(value).to_text()
    strings = (value[at : at + 255] for at in range(0, len(value), 255))
    escaped = (string.replace("\\", "\\\\").replace('"', '\\"') for string in strings)
    return " ".join(f'"{string}"' for string in escaped) or '""'


def _present(rdata: dns.rdata.Rdata) -> str:
    if isinstance(rdata, TXT):
        return b"".join(rdata.strings).decode("ascii", "backslashreplace")
    return rdata.to_text().removesuffix(".").lower()
