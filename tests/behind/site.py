"""A whole Mailward with the settings of a recipe, a customer whose names lead to the front, and Pebble as the CA."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.behind.recipes import read_recipe
from tests.e2e.conftest import Platform, until
from tests.e2e.test_caddy import SET_UP
from tests.fakes.dns import FakeDns
from tests.fakes.pebble import Pebble
from tests.fakes.ports import free_port

DOMAIN = "example.test"
HOST = f"mta-sts.{DOMAIN}"
PATH = "/.well-known/mta-sts.txt"
POLICY = f"version: STSv1\r\nmode: testing\r\nmx: mx.{DOMAIN}\r\nmax_age: 86400\r\n"
CLIENT = "127.0.9.1"
"""Who fetches; the fronts are at 127.0.0.1."""
CONFIG = "/etc/mailward/mailward.toml"
DIRECTORY = "https://acme-v02.api.letsencrypt.org/directory"


class Behind(Platform):
    """Its settings are a file's, but for those that only a laboratory needs."""

    @property
    def environment(self) -> dict[str, str]:
        from_file = ("MAILWARD_POLICY_HOST_PUBLIC_NAME", "MAILWARD_REPORTS_DOMAIN")
        kept = {name: text for name, text in super().environment.items() if name not in from_file}
        return kept | {"MAILWARD_CONFIG": str(self.data.with_suffix(".toml"))}

    def do(self, *arguments: str) -> str:
        environment = self.environment | {"DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
        command = [sys.executable, "-c", SET_UP, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr[-3000:]
        return done.stdout.strip()


@dataclass
class Site:
    platform: Behind
    pebble: Pebble
    replace: dict[str, str]
    """What stands in the documents -> what it is here."""

    @property
    def roots(self) -> Path:
        return self.pebble.folder / "roots.pem"

    def curl(
        self, port: int, name: str, *options: str, path: str = PATH, family: int = 4, scheme: str = "https"
    ) -> str:
        """What is served to CLIENT under the name at that port, by HTTPS with a certificate of the CA's."""
        client, server = (CLIENT, "127.0.0.1") if family == 4 else ("::1", "[::1]")
        command = ["curl", "--silent", "--max-time", "20", "--interface", client, "--cacert", str(self.roots)]
        command += ["--resolve", f"{name}:{port}:{server}", *options, f"{scheme}://{name}:{port}{path}"]
        done = subprocess.run(command, capture_output=True, check=False)
        return f"exit {done.returncode}" if done.returncode else done.stdout.decode()

    def publish(self) -> None:
        """The customer's domain, a policy, and the records that lead its names to us."""
        claim = self.platform.do("add", DOMAIN, "86400")
        self.platform.dns.set(f"_mailward-challenge.{DOMAIN}", "TXT", f"mailward-claim={claim}")
        self.platform.dns.set(HOST, "CNAME", "policies.example.org.")
        self.platform.do("look", DOMAIN)

    def clients(self, host: str) -> set[str]:
        """Who fetched from there, as Mailward's log has it."""
        lines = [line for line in self.platform.log.splitlines() if f"host={host} " in line]
        return {part for line in lines for part in line.split() if part.startswith("peer=")}


@contextmanager
def running_site(
    folder: Path, document: str, places: dict[str, str], *, http_port: int, **settings: str
) -> Iterator[Site]:
    """`places`: what stands in the document -> what it is here, for its settings; CAs ask at `http_port`."""
    with ExitStack() as stack:
        dns = FakeDns()
        stack.enter_context(dns.threaded())
        for name in ("policies.example.org", "tlsrpt.example.org"):
            dns.set(name, "A", "127.0.0.1")
        pebble = Pebble(folder / "pebble", dns=dns.address, http_port=http_port)
        stack.enter_context(pebble)
        (folder / "pebble/roots.pem").write_bytes(pebble.roots())
        replace = places | {DIRECTORY: pebble.directory.url}
        (folder / "data.toml").write_text(read_recipe(document, CONFIG, replace))
        own = {
            "MAILWARD_ACME_REACH_PORT": str(http_port),
            "MAILWARD_WATCH_ENABLED": "false",
            "MAILWARD_REPORTS_SMTP_PORT": str(free_port()),
            "SSL_CERT_FILE": str(pebble.folder / "roots.pem"),
            "REQUESTS_CA_BUNDLE": pebble.directory.ca_file,
        }
        platform = Behind(folder / "data", dns, ports={}, settings=own | settings)
        stack.enter_context(platform.serving())
        yield Site(platform, pebble, replace)


def wait_until_announced(site: Site) -> None:
    until(lambda: f"policy-announced domain={DOMAIN}" in site.platform.log)
