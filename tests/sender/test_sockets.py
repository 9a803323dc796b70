import os
import socket
from pathlib import Path

import pytest

from mailward.net.systemd import notify
from mailward.sender.sockets import ListenError, open_socket, open_sockets, take_sockets


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    place = f"unix:{tmp_path / 's'}"
    open_socket(place, 0o666).close()
    open_socket(place, 0o666).close()


def test_a_socket_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    place = f"unix:{tmp_path / 's'}"
    with open_socket(place, 0o666), pytest.raises(ListenError, match="another process"):
        open_socket(place, 0o666)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ListenError, match="no socket"):
        open_socket(f"unix:{tmp_path / 's'}", 0o666)
    assert (tmp_path / "s").read_text() == "precious"


@pytest.mark.parametrize(
    "place", ["localhost:1", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "unix:/nowhere/s", ""]
)
def test_what_cannot_be_listened_on_is_named(place: str) -> None:
    with pytest.raises(ListenError):
        open_socket(place, 0o666)


def test_ipv6_is_written_with_brackets() -> None:
    with open_socket("[::1]:0", 0o666) as listener:
        assert listener.getsockname()[0] == "::1"


def test_systemd_s_sockets_are_for_the_process_that_it_names() -> None:
    assert take_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == []
    assert take_sockets({"LISTEN_FDS": "1"}) == []


def test_without_systemd_each_place_gets_a_socket() -> None:
    sockets = open_sockets(["127.0.0.1:0", "127.0.0.1:0"], 0o666, {})
    assert len({listener.getsockname() for listener in sockets}) == 2
    for listener in sockets:
        listener.close()


@pytest.mark.parametrize("name", ["path", "@abstract"])
def test_systemd_hears_that_we_are_ready(name: str, tmp_path: Path) -> None:
    address = str(tmp_path / "n") if name == "path" else f"@mailward-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address.replace("@", "\0", 1))
        notify("READY=1", {"NOTIFY_SOCKET": address})
        assert channel.recv(100) == b"READY=1"


def test_without_systemd_nobody_is_told() -> None:
    notify("READY=1", {})
    notify("READY=1", {"NOTIFY_SOCKET": "/nowhere/n"})
