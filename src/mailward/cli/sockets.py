"""The listening sockets of `mailward serve`: handed over by systemd, or opened here before anything starts."""

import errno
import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailward.cli.problem import Problem
from mailward.config import Settings
from mailward.config.listening import NAMES, Service, services
from mailward.core.places import Place, show_place
from mailward.net.listening import BACKLOG, open_datagrams, open_stream, place_of
from mailward.net.systemd import take_sockets

_log = logging.getLogger("mailward.serve")


@dataclass(frozen=True, slots=True)
class Held:
    """All listening sockets, for as long as we run."""

    by_child: Mapping[str, Mapping[str, Sequence[socket.socket]]]
    """Child -> service -> sockets."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the settings are to say where systemd's sockets stand in for theirs."""


def hold(settings: Settings, environ: Mapping[str, str]) -> Held:
    """Raises Problem with one sentence for the first address that cannot be had."""
    handed_over = _handed_over(environ)
    by_child: dict[str, dict[str, Sequence[socket.socket]]] = {}
    environment: dict[str, str] = {}
    try:
        _fill(by_child, environment, settings, handed_over)
    except Problem:
        for each in _sockets(by_child, handed_over):
            each.close()
        raise
    return Held(by_child, environment)


def _sockets(*held: Mapping[str, Any]) -> Iterator[socket.socket]:
    """Of mappings whose values are sequences of sockets, or again such mappings."""
    for mapping in held:
        for value in mapping.values():
            yield from _sockets(value) if isinstance(value, Mapping) else value


def _fill(
    by_child: dict[str, dict[str, Sequence[socket.socket]]],
    environment: dict[str, str],
    settings: Settings,
    handed_over: dict[str, list[socket.socket]],
) -> None:
    for service in services(settings):
        given = handed_over.get(service.name, [])
        if given:
            _check(service, given)
            del handed_over[service.name]
            places = [place_of(each) for each in given if each.type == socket.SOCK_STREAM]
            # so that all of Mailward knows them: it asks itself, and tells people where it is
            environment[service.variable] = " ".join(show_place(place) for place in places)
        by_child.setdefault(service.child, {})[service.name] = given or _open(service)
    for name, unused in handed_over.items():
        _refuse_unknown(name)
        _log.warning(
            "socket-not-used", extra={"service": name, "reason": "the settings switch this service off"}
        )
        for each in unused:
            each.close()


def _handed_over(environ: Mapping[str, str]) -> dict[str, list[socket.socket]]:
    found: dict[str, list[socket.socket]] = {}
    for name, each in take_sockets(environ):
        each.set_inheritable(False)
        found.setdefault(name, []).append(each)
    return found


def _refuse_unknown(name: str) -> None:
    if name not in NAMES:
        raise Problem(
            f"systemd hands over a socket named {name!r}, which is no service of ours; "
            f"FileDescriptorName= must be one of {', '.join(NAMES)}."
        )


def _check(service: Service, given: Sequence[socket.socket]) -> None:
    """Raises Problem where one is of a kind that the service does not serve, or one kind is missing."""
    allowed = [socket.SOCK_STREAM, socket.SOCK_DGRAM] if service.takes_datagrams else [socket.SOCK_STREAM]
    for each in given:
        if each.family not in (socket.AF_INET, socket.AF_INET6) or each.type not in allowed:
            raise Problem(f"systemd hands {service.name} a socket that is neither TCP nor, for DNS, UDP.")
        if each.type == socket.SOCK_STREAM:
            each.listen(BACKLOG)  # systemd's own default may be shorter
    for kind, way in ((socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")):
        if kind in allowed and not any(each.type == kind for each in given):
            raise Problem(f"systemd hands {service.name} no {way} socket; name one in its .socket unit.")


def _open(service: Service) -> list[socket.socket]:
    """Raises Problem."""
    opened: list[socket.socket] = []
    for place in service.places:
        try:
            opened.append(open_stream(place))
            if service.takes_datagrams:
                opened.append(open_datagrams(place))
        except OSError as error:
            for each in opened:
                each.close()
            raise Problem(_describe(service, place, error)) from error
    return opened


def _describe(service: Service, place: Place, error: OSError) -> str:
    key = "listen" if error.errno == errno.EADDRNOTAVAIL else "port"
    return f"{show_place(place)} ({service.table}.{service.prefix}{key}) cannot be used: {_reason(error)}."


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; stop it, or choose another port in the settings"
    if error.errno == errno.EACCES:
        return "only root, or systemd for us, may use ports below 1024; choose another port in the settings"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    return error.strerror or str(error)
