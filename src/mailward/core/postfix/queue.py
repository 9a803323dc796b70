"""The queue as `postqueue -j` prints it (Postfix 3.1 and later): one JSON object a message."""

import re
from dataclasses import dataclass

import msgspec

from mailward.core.names import Domain, InvalidName, parse_domain
from mailward.core.postfix.maillog import is_by_policy

MAX_LINE = 1024 * 1024  # a message with very many recipients; longer ones are left out

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIME = re.compile(r"(\d{1,9})([smhdw]?)")


class _Recipient(msgspec.Struct, frozen=True):
    address: str
    delay_reason: str = ""


class _Message(msgspec.Struct, frozen=True):
    arrival_time: int
    recipients: list[_Recipient]


_messages = msgspec.json.Decoder(_Message)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Mail of one message for one domain that waits because of TLS."""

    domain: Domain
    arrived_at: int
    reason: str


def read_line(line: bytes) -> list[Waiting]:
    """What waits because TLS was not as it had to be, one entry for each domain of the message."""
    if len(line) > MAX_LINE:
        return []
    try:
        message = _messages.decode(line)
    except msgspec.MsgspecError:
        return []
    found: dict[Domain, Waiting] = {}
    for recipient in message.recipients:
        if not is_by_policy(recipient.delay_reason):
            continue
        try:
            domain = parse_domain(recipient.address.rpartition("@")[2])
        except InvalidName:
            continue
        # a server's reply may be in it: what could drive a terminal or start a line is left out
        reason = "".join(char for char in recipient.delay_reason[:200] if char.isprintable())
        found[domain] = Waiting(domain, message.arrival_time, reason)
    return list(found.values())


def parse_time(text: str) -> int | None:
    """Seconds of a time value of Postfix's, such as `5d`; a bare number is taken for days, as in queue lifetimes."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    return int(found[1]) * (_SECONDS[found[2]] if found[2] else 86_400)
