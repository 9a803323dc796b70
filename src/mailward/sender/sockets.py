"""The sockets that Postfix connects to: handed over by systemd, or made here.

A socket of systemd's outlives the process: while it restarts, Postfix waits instead of deferring mail.
"""

import ipaddress
import socket
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from mailward.net import systemd

BACKLOG = 1024


class ListenError(Exception):
    """No socket can be had there; the text names the place and the reason."""

    code = "listen"


def open_sockets(places: Sequence[str], unix_mode: int, environ: Mapping[str, str]) -> list[socket.socket]:
    """Those of systemd, or else one for each place: `address:port` or `unix:/path`. Raises ListenError."""
    handed_over = take_sockets(environ)
    if not handed_over and not places:
        raise ListenError("listen is empty: there is nothing that Postfix could ask")
    return handed_over or [open_socket(place, unix_mode) for place in places]


def take_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """The stream sockets that systemd passes to this process."""
    sockets = _take(environ, socket.SOCK_STREAM)
    for listener in sockets:
        listener.setblocking(False)
    return sockets


def take_datagram_sockets(environ: Mapping[str, str]) -> list[socket.socket]:
    """Those for datagrams that systemd passes to this process."""
    return _take(environ, socket.SOCK_DGRAM)


def _take(environ: Mapping[str, str], kind: int) -> list[socket.socket]:
    found = []
    for _, handed_over in systemd.take_sockets(environ):
        if handed_over.type == kind:
            found.append(handed_over)
        else:
            handed_over.detach()  # somebody else's: it stays open
    return found


def open_socket(place: str, unix_mode: int) -> socket.socket:
    """Raises ListenError."""
    try:
        if place.startswith("unix:"):
            return _open_unix(Path(place.removeprefix("unix:")), unix_mode)
        return _open_tcp(place)
    except OSError as error:
        raise ListenError(f"{place}: {error.strerror or error}") from error


def bind_datagram_socket(made: socket.socket, path: Path, mode: int) -> None:
    """It then takes datagrams at that path. Raises ListenError."""
    try:
        _bind_unix(made, path, mode)
    except OSError as error:
        raise ListenError(f"{path}: {error.strerror or error}") from error


def _open_tcp(place: str) -> socket.socket:
    host, _, port = place.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        number = int(port)
    except ValueError as error:
        raise ListenError(f"{place!r} is neither address:port nor unix:/path") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        listener.bind((host, number))
    except (OSError, OverflowError) as error:
        listener.close()
        raise OSError(str(error)) from error
    return _listening(listener)


def _open_unix(path: Path, mode: int) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _bind_unix(made, path, mode)
    return _listening(made)


def _bind_unix(made: socket.socket, path: Path, mode: int) -> None:
    try:
        _remove_stale(path, made.type)
        made.bind(str(path))
        path.chmod(mode)
    except OSError as error:
        made.close()
        if isinstance(error, FileNotFoundError):
            raise OSError(f"its folder does not exist: mkdir {path.parent}") from error
        raise


def _listening(listener: socket.socket) -> socket.socket:
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path, kind: int) -> None:
    """A socket that a dead process left behind. Raises OSError where one listens, or the file is no socket."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise OSError(f"{path} is there, and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError("another process listens there")
