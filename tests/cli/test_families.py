"""Every service of `mailward serve` answers over IPv4 and over IPv6, where its setting names both."""

import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest
from tests.cli.test_serve import Platform
from tests.fakes.ports import free_port
from tests.prepared import prepare

BOTH = "127.0.0.1 ::1"
Ask = Callable[[str, int, Path], bool]
"""Whether what listens at this address and port answers as it should; the folder has the authority."""
ZONE = "sts.example.net"
LISTEN = (
    "CONSOLE",
    "POLICY_HOST",
    "POLICY_HOST_FRONT",
    "REPORTS_SMTP",
    "REPORTS_HTTPS",
    "ACME_HTTP",
    "NAMESERVER",
)


@dataclass
class Everything(Platform):
    """All services are on, except what follows from others."""

    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        listen = {f"MAILWARD_{name}_LISTEN": BOTH for name in LISTEN}
        numbers = self.ports["METRICS_PORT"]
        listen["MAILWARD_METRICS_LISTEN"] = f"127.0.0.1:{numbers} [::1]:{numbers}"
        own = {
            "MAILWARD_NAMESERVER_ZONE": ZONE,
            "MAILWARD_POLICY_HOST_FRONTS": BOTH,
            "MAILWARD_DNS_RESOLVERS": "127.0.0.1:9",
            "MAILWARD_WATCH_ENABLED": "false",
        }
        return super().environment | listen | own | self.settings


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Everything]:
    ports = {f"{name}_PORT": free_port() for name in (*LISTEN, "METRICS")}
    platform = Everything(prepare(folder / "data"), ports, settings=settings)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    with serving(tmp_path_factory.mktemp("families")) as platform:
        yield platform


@pytest.fixture(scope="module")
def ordering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    """Its certificates are a CA's, which is down: it has none, and answers at port 80."""
    directory = "https://127.0.0.1:9/directory"
    with serving(tmp_path_factory.mktemp("ordering"), MAILWARD_ACME_DIRECTORIES=directory) as platform:
        yield platform


def web(host: str, path: str, status: int) -> Ask:
    def ask(address: str, port: int, _: Path) -> bool:
        with socket.create_connection((address, port), timeout=20) as plain:
            return _status(plain, host, path) == status

    return ask


def secure_web(host: str, path: str, status: int) -> Ask:
    def ask(address: str, port: int, data: Path) -> bool:
        context = ssl.create_default_context(cafile=data / "ca" / "ca.pem")
        with (
            socket.create_connection((address, port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            return _status(secured, host, path) == status

    return ask


def _status(connection: socket.socket, host: str, path: str) -> int:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    with connection.makefile("rb") as answer:
        return int(answer.readline().split()[1])


def mail(address: str, port: int, _: Path) -> bool:
    with smtplib.SMTP(address, port, timeout=20) as client:
        return client.ehlo()[0] == 250


def name(ask: Callable[..., dns.message.Message]) -> Ask:
    def answers(address: str, port: int, _: Path) -> bool:
        reply = ask(dns.message.make_query(ZONE, "SOA"), address, port=port, timeout=20)
        return reply.rcode() == dns.rcode.NOERROR and len(reply.answer) == 1

    return answers


SERVICES: dict[str, tuple[str, Ask]] = {
    "console": ("CONSOLE", web("localhost", "/", 302)),
    "policy host": ("POLICY_HOST", secure_web("localhost", "/.well-known/mailward-health", 200)),
    "front": ("POLICY_HOST_FRONT", web("mta-sts.nobody.test", "/.well-known/mta-sts.txt", 404)),
    "port 80": ("ACME_HTTP", web("mta-sts.nobody.test", "/.well-known/acme-challenge/nobodys", 404)),
    "mail": ("REPORTS_SMTP", mail),
    "report POSTs": ("REPORTS_HTTPS", secure_web("reports.localhost", "/", 404)),
    "metrics": ("METRICS", web("localhost", "/metrics", 200)),
    "DNS by UDP": ("NAMESERVER", name(dns.query.udp)),
    "DNS by TCP": ("NAMESERVER", name(dns.query.tcp)),
}


@pytest.mark.parametrize("address", BOTH.split())
@pytest.mark.parametrize("service", SERVICES)
def test_each_service_answers_over_both_families(
    request: pytest.FixtureRequest, service: str, address: str
) -> None:
    prefix, ask = SERVICES[service]
    platform = request.getfixturevalue("ordering" if service == "port 80" else "everything")
    assert ask(address, platform.ports[f"{prefix}_PORT"], platform.data)
