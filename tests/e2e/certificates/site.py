"""A provider with `mailward serve` and its nameserver, its customers' DNS (NSD), a CA (Pebble) and somebody who fetches
policies: each a host in a network namespace of its own.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from tests.fakes.pebble import Pebble
from tests.postgresql import Server
from tests.prepared import prepare

from mailward.lab.mta import Postfix, find_tree
from mailward.lab.network import Network, address
from mailward.lab.program import Program
from mailward.lab.zones import DEAD, DNS, Dns, Zone
from mailward.net import clock
from mailward.net.authority import load_authority

CA, PLATFORM, CLIENT = 100, 200, 1
DATABASE = "provider"
SERVICE_ZONE = "sts.provider.test"
_SETTINGS = """\
data = "{folder}/data"
[policy_host]
listen = "0.0.0.0"
port = 443
public_name = "{public_name}"
[nameserver]
zone = "sts.provider.test"
listen = ["{here}"]
servers = ["ns1.sts.provider.test={here}"]
policy_addresses = ["{here}"]
replies_per_second = 0
[reports]
domain = "reports.provider.test"
smtp_listen = "0.0.0.0"
https_listen = "0.0.0.0"
[certificates]
development_ca = false
[acme]
{acme}
{directories}
[dns]
resolvers = ["127.0.0.1"]
allow_private_addresses = true
[watch]
enabled = false
"""
_ADD = """
import sys
import django; django.setup()
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain as Name
from mailward.store.models import Domain, Organisation, Role
from mailward.store.scope import Scope
from mailward.store.services.domains import create_domains
from mailward.store.services.policies import publish_policy
o, _ = Organisation.objects.get_or_create(name="Example Ltd", report_token="org-example")
names = [Name(line.strip()) for line in sys.stdin]
for d in create_domains(Scope(o.pk, 0, Role.OWNER), names).created:
    publish_policy(o.pk, d.pk, Policy(Mode.TESTING, 86400, ("mx." + d.name,)), author_id=None)
    print(d.name, d.delegation_token)
"""


@dataclass
class Provider:
    folder: Path
    network: Network
    dns: Dns
    pebble: Pebble
    serve: Program
    server: Server | None = None
    """PostgreSQL, whose socket is reached from every namespace; None: SQLite."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MAILWARD_CONFIG": str(self.folder / "mailward.toml"),
            "MAILWARD_DATA": str(self.folder / "data"),
            "DJANGO_SETTINGS_MODULE": "mailward.web.settings",
            "SSL_CERT_FILE": str(self.folder / "roots.pem"),
            **(self.server.environment(DATABASE) if self.server is not None else {}),
        }

    def start(self) -> None:
        runs = self.serve.said().count(" policy-host serving ")
        self.serve.start()
        self.serve.wait_for(" policy-host serving ", runs + 1)

    def add(self, names: Sequence[str]) -> dict[str, str]:
        """Domains with a policy each; the label of each in our zone."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAILWARD", "DJANGO"))}
        done = subprocess.run(
            [sys.executable, "-c", _ADD],
            input="\n".join(names),
            capture_output=True,
            text=True,
            check=False,
            env=kept | self.environment,
        )
        assert not done.returncode, done.stderr[-3000:]
        return dict(line.split() for line in done.stdout.splitlines())

    def publish(self, tokens: dict[str, str], zone: str) -> None:
        """What customers publish, once: three CNAMEs a domain."""
        lines = []
        for name, token in tokens.items():
            for label, target in (
                ("_mta-sts", "_mta-sts"),
                ("mta-sts", "mta-sts"),
                ("_smtp._tls", "_tlsrpt"),
            ):
                lines.append(f"{label}.{name}. CNAME {target}.{token}.{SERVICE_ZONE}.")
        self.dns.change(zone, *lines)

    def fetch(self, name: str) -> str:
        """The policy as a sender fetches it; empty while that is not possible."""
        command = ["curl", "-sS", "--fail", "--max-time", "5", "--cacert", str(self.folder / "roots.pem")]
        url = f"https://mta-sts.{name}/.well-known/mta-sts.txt"
        done = subprocess.run(
            [*self.network.inside("client"), *command, url], capture_output=True, text=True, check=False
        )
        return done.stdout if not done.returncode else ""

    def txt(self, name: str) -> str:
        code = "import dns.resolver, sys; print(dns.resolver.resolve(sys.argv[1], 'TXT')[0].to_text())"
        done = subprocess.run(
            [*self.network.inside("client"), sys.executable, "-c", code, name],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip()

    def rows(self, query: str) -> list[Any]:
        with self._connect() as database:
            found: list[Any] = database.execute(query).fetchall()
            return found

    def write(self, statement: str) -> None:
        with self._connect() as database:
            database.execute(statement)
            database.commit()

    def _connect(self) -> contextlib.closing[Any]:
        if self.server is not None:
            return contextlib.closing(
                psycopg.connect(host=str(self.server.folder), user="postgres", dbname=DATABASE)
            )
        return contextlib.closing(sqlite3.connect(self.folder / "data" / "mailward.sqlite3", timeout=10))


@contextmanager
def running_provider(
    zones: Sequence[str],
    *,
    orders_own: bool = False,
    acme: str = 'http_listen = "0.0.0.0"',
    own: Sequence[str] = (),
    public_name: str = "policies.provider.test",
    disk: Callable[[Path], AbstractContextManager[object]] = nullcontext,
    server: Server | None = None,
    **pebble: Any,
) -> Iterator[Provider]:
    """`zones`: of customers, empty at first. `orders_own`: whether certificates are ordered for the provider's own
    names too; otherwise it keeps a file for those. `acme`: settings. `own`: records of the provider's zone beside those
    that it needs. `disk`: puts something of its own below the data folder. `server`: holds the database, which is made.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="certificates-", dir=find_tree("trixie").parent))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        stack.enter_context(disk(folder / "data"))
        hosts = {"dns": [DNS, DEAD], "platform": [PLATFORM], "ca": [CA], "client": [CLIENT]}
        network = Network(hosts)
        stack.callback(network.close)
        here = address(PLATFORM)
        root = Postfix.unpack("trixie", folder / "servers", network, "dns").root
        dns = Dns(root, network, resolvers=("platform", "ca", "client"))
        provider = [f"policies A {here}", f"reports A {here}", "sts NS ns1.sts", f"ns1.sts A {here}", *own]
        dns.add(Zone("provider.test.", provider), *(Zone(f"{zone}.") for zone in zones))
        for host in hosts:
            resolv = Path("/etc/netns") / network.name(host)
            resolv.mkdir(parents=True)
            stack.callback(shutil.rmtree, resolv, ignore_errors=True)
            (resolv / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        dns.start()
        stack.callback(dns.stop)
        ca = Pebble(
            folder / "pebble",
            dns="127.0.0.1:53",
            http_port=80,
            address=address(CA),
            inside=network.inside("ca"),
            **pebble,
        )
        stack.enter_context(ca)
        (folder / "roots.pem").write_bytes(ca.roots())
        directory = (
            f'[[acme.directories]]\nurl = "{ca.directory.url}"\nca_file = "{ca.directory.ca_file}"\n'
            "orders_per_3_hours = 100000"
        )
        text = _SETTINGS.format(
            folder=folder, here=here, directories=directory, acme=acme, public_name=public_name
        )
        (folder / "mailward.toml").write_text(text)
        prepare(folder / "data")
        if server is not None:
            (folder / "data" / "mailward.sqlite3").unlink()
            server.start()
            server.create(DATABASE)
        if not orders_own:
            file = folder / "data" / "certs" / "own.pem"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(load_authority(folder / "authority").issue("*.provider.test", clock.now()))
        made = Provider(folder, network, dns, ca, None, server)  # type: ignore[arg-type]  # just below
        made.serve = Program(network, "platform", ["mailward", "serve"], folder / "log", made.environment)
        stack.callback(made.serve.stop)
        made.start()
        yield made


def wait_until(done: Any, seconds: float, every: float = 0.2) -> float:
    """How long it took, in seconds."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() - begun < seconds, f"not within {seconds} seconds"
        time.sleep(every)
    return time.monotonic() - begun
