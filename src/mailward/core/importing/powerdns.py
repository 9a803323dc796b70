"""The answers of PowerDNS's HTTP API (version 1), as JSON."""

from collections.abc import Iterator

import msgspec

from mailward.core.importing.listing import Refused, Unreadable, Wish
from mailward.core.importing.reading import read_mx

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_REVERSE = (".in-addr.arpa.", ".ip6.arpa.")


class _Zone(msgspec.Struct, frozen=True):
    id: str
    name: str


class _Content(msgspec.Struct, frozen=True):
    content: str
    disabled: bool = False


class _Rrset(msgspec.Struct, frozen=True):
    name: str
    type: str
    records: tuple[_Content, ...] = ()


class _Whole(msgspec.Struct, frozen=True):
    rrsets: tuple[_Rrset, ...] = ()


_ZONES = msgspec.json.Decoder(list[_Zone])
_WHOLE = msgspec.json.Decoder(_Whole)


def read_zones(answer: bytes) -> tuple[str, ...]:
    """Of `GET /servers/localhost/zones`: the ids of the zones that may have mail domains. Raises Unreadable."""
    try:
        zones = _ZONES.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"the list of zones is not as expected: {error}") from error
    return tuple(zone.id for zone in zones if not zone.name.endswith(_REVERSE))


def read_zone(answer: bytes, zone_id: str) -> Iterator[Wish | Refused]:
    """Of `GET /servers/localhost/zones/ID`: every name with MX records. Raises Unreadable."""
    try:
        whole = _WHOLE.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"zone {zone_id}: the answer is not as expected: {error}") from error
    for rrset in whole.rrsets:
        if rrset.type != "MX":
            continue
        pairs = [each.content.split() for each in rrset.records if not each.disabled]
        hosts = sorted((int(pair[0]), pair[1]) for pair in pairs if len(pair) == 2 and pair[0].isdecimal())
        yield read_mx(rrset.name.rstrip("."), [host.rstrip(".") for _, host in hosts], f"zone {zone_id}")
