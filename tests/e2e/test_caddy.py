"""Two of Debian's Caddy in front, as docs/caddy.md says, with Pebble as their CA and a whole Mailward behind them.

The CA reaches the first of them alone.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.conftest import Platform, until
from tests.fakes.caddy import Caddy
from tests.fakes.dns import FakeDns
from tests.fakes.pebble import Pebble
from tests.fakes.ports import free_port
from tests.postgresql import Server
from tests.prepared import prepare

pytestmark = [pytest.mark.timeout(180)]
POLICY = "version: STSv1\r\nmode: testing\r\nmx: mx.{0}\r\nmax_age: {1}\r\n"
CLIENT = "127.0.9.1"
SET_UP = """
import django, sys; django.setup()
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain as Name
from mailward.store.models import Domain, Organisation, Role
from mailward.store.scope import Scope
from mailward.store.services import outbox
from mailward.store.services.domains import create_domains
from mailward.store.services.policies import announce_version, publish_policy
what, name = sys.argv[1:3]
o, _ = Organisation.objects.get_or_create(name="Example Ltd", report_token="org-example")
if what == "add":
    create_domains(Scope(o.pk, 0, Role.OWNER), [Name(name)])
d = Domain.objects.get(name=name)
if what == "look":
    outbox.put("records", str(d.pk))
else:
    publish_policy(o.pk, d.pk, Policy(Mode.TESTING, int(sys.argv[3]), ("mx." + name,)), author_id=None)
if what == "add" and len(sys.argv) > 4:  # nobody fetches it before its id is told
    d.refresh_from_db()
    announce_version(d.pk, d.current_version_id)
print(d.claim_token)
"""


@dataclass
class Fleet:
    platform: Platform
    caddies: tuple[Caddy, Caddy]
    pebble: Pebble
    server: Server

    def do(self, *arguments: str) -> str:
        environment = self.platform.environment | {"DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
        done = subprocess.run(
            [sys.executable, "-c", SET_UP, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stderr[-3000:]
        return done.stdout.strip()

    def publish(self, name: str, claim: str) -> None:
        self.platform.dns.set(f"_mailward-challenge.{name}", "TXT", f"mailward-claim={claim}")
        self.platform.dns.set(f"mta-sts.{name}", "CNAME", "policy.mailward.test.")
        self.do("look", name)

    def curl(self, name: str, *options: str, path: str = "/.well-known/mta-sts.txt", caddy: int = 0) -> str:
        """What is served under the name, with a certificate that the CA's root vouches for."""
        host, port = f"mta-sts.{name}", self.caddies[caddy].port
        command = ["curl", "--silent", "--max-time", "20", "--cacert", str(self.pebble.folder / "roots.pem")]
        command += ["--interface", CLIENT, "--resolve", f"{host}:{port}:127.0.0.1", *options]
        done = subprocess.run([*command, f"https://{host}:{port}{path}"], capture_output=True, check=False)
        return f"exit {done.returncode}" if done.returncode else done.stdout.decode()

    def kill_policy_host(self) -> None:
        """Ours, by its data folder; it is started again by `mailward serve`."""
        ours = f"MAILWARD_DATA={self.platform.data}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_ours = ours in (process / "environ").read_bytes().split(b"\0")
                if is_ours and b"_policy-host" in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)

    @property
    def orders(self) -> int:
        return self.pebble.log.count("Added order")

    @property
    def issued(self) -> int:
        return self.pebble.log.count("Issued certificate")

    def is_announced(self, name: str) -> bool:
        query = f"SELECT announced_version_id = current_version_id FROM store_domain WHERE name = '{name}'"
        return self.server.sql(query, "caddy") == "t"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("caddy")
    front_port = free_port()
    ports = [(free_port(), free_port()) for _ in range(2)]
    with ExitStack() as stack:
        server = Server()
        stack.callback(server.remove)
        server.start()
        server.create("caddy")
        dns = FakeDns()
        stack.enter_context(dns.threaded())
        dns.set("policy.mailward.test", "A", "127.0.0.1")
        pebble = Pebble(folder / "pebble", dns=dns.address, http_port=ports[0][0], tlsPort=ports[0][1])
        stack.enter_context(pebble)
        (pebble.folder / "roots.pem").write_bytes(pebble.roots())
        caddies = [
            Caddy(
                folder / f"caddy{number}",
                pebble,
                http_port=http_port,
                https_port=https_port,
                front_port=front_port,
                storage=folder / "storage",
            )
            for number, (http_port, https_port) in enumerate(ports)
        ]
        for caddy in caddies:
            stack.enter_context(caddy)
        settings = server.environment("caddy") | {
            "MAILWARD_POLICY_HOST_FRONTS": "127.0.0.1",
            "MAILWARD_POLICY_HOST_FRONT_PORT": str(front_port),
            "MAILWARD_POLICY_HOST_NODES": " ".join(f"127.0.0.1:{https_port}" for _, https_port in ports),
            "MAILWARD_CERTIFICATES_DEVELOPMENT_CA": "false",
            "MAILWARD_WATCH_ENABLED": "false",
            "SSL_CERT_FILE": str(pebble.folder / "roots.pem"),
        }
        platform = stack.enter_context(Platform(prepare(folder / "data"), dns, settings=settings).serving())
        yield Fleet(platform, (caddies[0], caddies[1]), pebble, server)


class TestCaddyInFront:
    """In this order: each goes on where the one before stopped."""

    def test_a_name_that_is_not_ours_or_does_not_lead_to_us_costs_no_order(self, fleet: Fleet) -> None:
        claims = [
            fleet.do("add", "example.test", "86400"),
            fleet.do("add", "other.test", "86400", "announced"),
        ]
        assert fleet.curl("unknown.test", "--insecure") == "exit 35"
        assert fleet.curl("example.test", "--insecure") == "exit 35"  # hosted, but not proved
        assert fleet.orders == 0
        for name, claim in zip(("example.test", "other.test"), claims, strict=True):
            fleet.publish(name, claim)

    def test_the_look_at_every_node_brings_the_certificate_and_then_the_id_is_told(
        self, fleet: Fleet
    ) -> None:
        until(lambda: fleet.is_announced("example.test"))
        assert fleet.curl("example.test") == POLICY.format("example.test", 86400)
        assert (fleet.orders, fleet.issued) == (1, 1)

    def test_a_change_of_the_policy_is_seen_through_caddy_before_its_id_is_told(self, fleet: Fleet) -> None:
        fleet.do("change", "example.test", "604800")
        until(lambda: fleet.is_announced("example.test"))
        changed = POLICY.format("example.test", 604800)
        for version in ("1.1", "2"):
            seen = fleet.curl(
                "example.test", f"--http{version}", "--write-out", "%{http_version} %{http_code}"
            )
            assert seen == f"{changed}{version} 200"

    def test_the_real_client_counts_and_cannot_ask(self, fleet: Fleet) -> None:
        assert f"peer={CLIENT} host=mta-sts.example.test" in fleet.platform.log
        assert fleet.curl("example.test", path="/ask?domain=mta-sts.example.test").startswith(
            "This host serves"
        )
        fleet.curl("example.test", "--header", "X-Forwarded-For: 192.0.2.77")
        assert "192.0.2.77" not in fleet.platform.log

    def test_nobody_is_turned_away_while_the_policy_host_starts_again(self, fleet: Fleet) -> None:
        before = fleet.platform.log.count("policy-host serving")
        fleet.kill_policy_host()
        assert fleet.curl("example.test") == POLICY.format("example.test", 604800)
        assert fleet.platform.log.count("policy-host serving") == before + 1

    def test_while_the_database_is_away_a_first_handshake_still_brings_a_certificate(
        self, fleet: Fleet
    ) -> None:
        fleet.server.stop()
        try:
            assert fleet.orders == 1
            # the CA asks the one, whose storage knows what the other has begun
            assert fleet.curl("other.test", caddy=1) == POLICY.format("other.test", 86400)
            assert fleet.curl("other.test") == POLICY.format("other.test", 86400)
            assert fleet.curl("example.test") == POLICY.format("example.test", 604800)
            assert fleet.curl("unknown.test", "--insecure") == "exit 35"
        finally:
            fleet.server.start()
        assert (fleet.orders, fleet.issued) == (2, 2)
