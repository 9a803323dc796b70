"""Which sockets `mailward serve` holds, and what it says where it cannot."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.ports import free_port

from mailward.cli.problem import Problem
from mailward.cli.sockets import Held, hold
from mailward.config import Console, Nameserver, PolicyHost, Reports, Settings
from mailward.net.listening import place_of

# hands over what it opens itself, as systemd would: sd_listen_fds(3)
HANDED_OVER = """
import os, socket, sys
from mailward.cli.sockets import hold
from mailward.config import load_settings
kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
names = []
for place, word in enumerate(sys.argv[1:]):
    name, kind = word.split("/")
    made = socket.socket(socket.AF_INET, kinds[kind])
    made.bind(("127.0.0.1", 0))
    os.dup2(made.detach(), 3 + place)
    names.append(name)
given = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
held = hold(load_settings(None, os.environ), os.environ | given)
for child, services in sorted(held.by_child.items()):
    for name, sockets in services.items():
        print(child, name, *sorted({each.fileno() for each in sockets} & set(range(3, 3 + len(names)))))
print(*held.environment)
"""


@pytest.fixture
def settings() -> Settings:
    return Settings(
        console=Console(port=free_port()),
        policy_host=PolicyHost(listen=("127.0.0.1", "[::1]"), port=free_port()),
        reports=Reports(smtp_port=free_port(), https_port=free_port()),
        nameserver=Nameserver(zone="sts.example.net", port=free_port()),
    )


@pytest.fixture
def held(settings: Settings) -> Iterator[Held]:
    made = hold(settings, {})
    yield made
    close(made)


def close(held: Held) -> None:
    for services in held.by_child.values():
        for sockets in services.values():
            for each in sockets:
                each.close()


def test_each_child_has_its_own_at_each_of_its_addresses(held: Held, settings: Settings) -> None:
    port = settings.policy_host.port
    assert {child: set(services) for child, services in held.by_child.items()} == {
        "console": {"console"},
        "policy-host": {"policy-host"},
        "doors": {"smtp", "reports-https"},
        "nameserver": {"nameserver"},
    }
    served = held.by_child["policy-host"]["policy-host"]
    assert [place_of(each) for each in served] == [("127.0.0.1", port), ("::1", port)]
    kinds = [each.type for each in held.by_child["nameserver"]["nameserver"]]
    assert kinds == [socket.SOCK_STREAM, socket.SOCK_DGRAM]


def test_who_connects_before_anybody_serves_waits(held: Held, settings: Settings) -> None:
    socket.create_connection(("::1", settings.policy_host.port), timeout=5).close()


@pytest.mark.parametrize(
    "listen, said",
    [
        ("127.0.0.1:{taken}", r"127\.0\.0\.1:\d+ \(reports\.smtp_port\) cannot be used: another program"),
        (
            "192.0.2.1",
            r"192\.0\.2\.1:\d+ \(reports\.smtp_listen\) cannot be used: this machine has no such address",
        ),
    ],
)
def test_an_address_that_cannot_be_had_is_named_with_its_setting(
    settings: Settings, listen: str, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        reports = Reports(
            smtp_listen=(listen.format(taken=taken),), smtp_port=free_port(), https_port=free_port()
        )
        changed = Settings(console=settings.console, policy_host=settings.policy_host, reports=reports)
        with pytest.raises(Problem, match=said):
            hold(changed, {})


def handed_over(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    own = {
        f"MAILWARD_{name}_PORT": str(free_port())
        for name in ("CONSOLE", "POLICY_HOST", "REPORTS_SMTP", "REPORTS_HTTPS")
    }
    return subprocess.run(
        [sys.executable, "-c", HANDED_OVER, *words],
        env={"PATH": "/usr/bin:/bin", "MAILWARD_DATA": str(folder)} | own,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_what_systemd_hands_over_takes_the_place_of_the_settings(tmp_path: Path) -> None:
    done = handed_over(tmp_path, "smtp/tcp", "smtp/tcp", "console/tcp")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "console console 5",
        "doors smtp 3 4",
        "doors reports-https",
        "policy-host policy-host",
        "MAILWARD_CONSOLE_LISTEN MAILWARD_REPORTS_SMTP_LISTEN",
    ]


@pytest.mark.parametrize(
    "word, said",
    [
        ("imap/tcp", "a socket named 'imap', which is no service of ours"),
        ("smtp/udp", "hands smtp a socket that is neither TCP"),
    ],
)
def test_a_socket_of_systemd_that_fits_nothing_refuses_to_start(tmp_path: Path, word: str, said: str) -> None:
    done = handed_over(tmp_path, word)
    assert done.returncode != 0
    assert re.search(said, done.stderr)


def test_a_socket_of_a_service_that_is_off_is_closed_with_a_warning(tmp_path: Path) -> None:
    done = handed_over(tmp_path, "nameserver/udp")
    assert done.returncode == 0, done.stderr
    assert "nameserver" not in done.stdout
