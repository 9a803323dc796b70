"""The key of a question: the next hop, in every form that Postfix's transport tables allow."""

import re
from dataclasses import dataclass
from enum import StrEnum

from mailward.core.names import Domain, InvalidName, is_address, parse_domain

MAX_KEY_BYTES = 1024  # a name has 253 characters; U-labels and a port make it longer, but not so long
SMTP_PORT = 25
_SERVICES = {"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465}  # RFC 6335 names that MTAs use
_BRACKETED = re.compile(r"\[(?P<host>[^\[\]]*)\](?::(?P<port>[A-Za-z0-9-]{1,15}))?")
_BARE = re.compile(r"(?P<host>[^:\[\]]+)(?::(?P<port>[A-Za-z0-9-]{1,15}))?")


class NoPolicy(StrEnum):
    """Why a key can have no policy of its own: answered at once, nothing is asked."""

    PARENT = "parent"
    ADDRESS = "address"
    NO_NAME = "no-name"


@dataclass(frozen=True, slots=True)
class NextHop:
    domain: Domain
    """The policy domain: RFC 8461 §3.4 takes a smart host's domain for it, brackets or not."""
    is_host: bool = False
    """In brackets: mail goes to this very host, without an MX lookup."""
    port: int | None = SMTP_PORT
    """None: a service name that we do not know, so no TLSA record can be asked for."""

    def __str__(self) -> str:
        name = f"[{self.domain}]" if self.is_host else self.domain
        return name if self.port == SMTP_PORT else f"{name}:{self.port or '?'}"


def parse_nexthop(key: bytes) -> NextHop | NoPolicy:
    """What mail is about to be sent to, or why there is no policy for it."""
    if len(key) > MAX_KEY_BYTES:
        return NoPolicy.NO_NAME
    try:
        text = key.decode("utf-8")
    except UnicodeDecodeError:
        return NoPolicy.NO_NAME
    if text.startswith("."):
        # after NOTFOUND Postfix asks for each parent; RFC 8461 §3.4: "MUST NOT attempt to extend" upwards
        return NoPolicy.PARENT
    bracketed = _BRACKETED.fullmatch(text)
    match = bracketed or _BARE.fullmatch(text)
    if match is None:
        return NoPolicy.ADDRESS if is_address(text) else NoPolicy.NO_NAME
    host = match["host"]
    if is_address(host.removeprefix("IPv6:").removeprefix("ipv6:")):
        return NoPolicy.ADDRESS
    try:
        domain = parse_domain(host)
    except InvalidName:
        return NoPolicy.NO_NAME
    return NextHop(domain, bracketed is not None, _port(match["port"]))


def _port(text: str | None) -> int | None:
    if text is None:
        return SMTP_PORT
    if text.isascii() and text.isdigit():
        number = int(text)
        return number if 0 < number < 65536 else None
    return _SERVICES.get(text.lower())
