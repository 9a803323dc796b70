"""Where a server is, as settings say it: `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]:53`."""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

from mailward.core.names import MAX_NAME_LENGTH, InvalidName, is_address, parse_domain

Place = tuple[str, int]
"""Address and port."""

_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
"""Names of containers have underscores, and lead to them."""


def parse_place(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Address and port. Raises ValueError with one sentence; without `default_port` a port must be there."""
    host, colon, port = text.rpartition(":")
    if (text.count(":") != 1 and not text.startswith("[")) or text.endswith("]"):
        host, colon, port = text, "", ""  # a bare IPv6 address, or no port at all
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
        number = int(port) if colon else default_port
    except ValueError:
        number = None
    lowest = 0 if default_port is None else 1  # to listen on port 0 is to let the kernel choose
    if number is None or not lowest <= number < 65536:
        wanted = "address:port" if default_port is None else "an IP address, or address:port"
        raise ValueError(f"{text[:100]!r} is no server: it must be {wanted}")
    return host, number


def parse_target(text: str, default_port: int) -> tuple[str, int]:
    """A host name or an address, with a port or without. Raises ValueError with one sentence."""
    try:
        return parse_place(text, default_port)
    except ValueError:
        host, colon, port = text.partition(":")
    try:
        name, number = parse_domain(host), int(port) if colon else default_port
    except (InvalidName, ValueError):
        number = 0
    if not 0 < number < 65536:
        raise ValueError(f"{text[:100]!r} is no server: it must be name, or name:port")
    return name, number


def parse_listen(text: str, default_port: int) -> Place:
    """Where to listen; `localhost` is 127.0.0.1. Raises ValueError with one sentence."""
    host, colon, port = text.partition(":")
    try:
        return parse_place(f"127.0.0.1{colon}{port}" if host == "localhost" else text, default_port)
    except ValueError as error:
        raise ValueError(
            f"{text[:100]!r} is nowhere to listen: it must be an IP address, or address:port"
        ) from error


def check_host(text: str) -> None:
    """A name that can be looked up, or an address. Raises ValueError with one sentence."""
    is_name = len(text) <= MAX_NAME_LENGTH and _HOST.fullmatch(text) is not None
    if is_name or (is_address(text) and "[" not in text):
        return
    try:
        parse_domain(text, allow_single=True)
    except InvalidName as error:
        raise ValueError(f"{text[:100]!r} is no host: it must be a name or an IP address") from error


def check_url(text: str, *schemes: str) -> None:
    """An absolute URL with one of these schemes, and a host. Raises ValueError with one sentence."""
    try:
        parts = urlsplit(text)
        check_host(parts.hostname or "")
        is_one = parts.scheme in schemes and parts.port != 0 and text.isprintable() and " " not in text
    except ValueError:  # half an IPv6 address, a port that is none
        is_one = False
    if not is_one:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"{text[:100]!r} is no URL that can be used: it must begin with {wanted} and a host")


def plain_url(text: str) -> str:
    """A URL that `check_url` takes, as browsers write it: in small letters and ASCII up to the path, without the port
    that is usual.
    """
    parts = urlsplit(text)
    host, usual = parts.hostname or "", {"https": 443, "http": 80}.get(parts.scheme)
    host = host.removesuffix(".") if host.isascii() else parse_domain(host, allow_single=True)
    place = f"[{host}]" if ":" in host else host
    if parts.port not in (None, usual):
        place += f":{parts.port}"
    return urlunsplit(parts._replace(netloc=place))


def show_place(place: Place) -> str:
    host, port = place
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reach(host: str) -> str:
    """The address at which we reach ourselves what listens at `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound here


def check_listen(key: str, addresses: Iterable[str]) -> None:
    """Raises ValueError."""
    for text in addresses:
        try:
            parse_listen(text, 1)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error


def check_networks(key: str, networks: Iterable[str]) -> None:
    """Raises ValueError."""
    for text in networks:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
