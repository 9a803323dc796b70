"""Apache of Debian with the files of docs/behind/apache.md, Pebble as its CA, and our door for fronts behind it."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.behind.fronts import TREE, is_open, running
from tests.behind.recipes import FOLDER, read_recipe
from tests.behind.site import CLIENT, CONFIG, DIRECTORY, PATH
from tests.cli.test_serve import Platform
from tests.e2e.conftest import until
from tests.fakes.dns import FakeDns
from tests.fakes.pebble import Pebble
from tests.fakes.ports import free_port
from tests.hosting.daemons import Tree, make_tree

from mailward.config import Settings, load_settings
from mailward.core.names import Domain
from mailward.hosting.announce import look_at_hosts
from mailward.hosting.fronted import FrontedHost, serve_fronts
from mailward.hosting.policyweb import PolicyHost, make_proxy_test
from mailward.hosting.snapshot import Snapshot, SnapshotKeeper, save_snapshot
from mailward.net.httpserver import Finished, Server

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only"),
]
POLICY = "version: STSv1\r\nmode: testing\r\nmx: mx.{0}\r\nmax_age: 86400\r\n"
DOMAINS = ("example.com", "example.net")
START = "mkdir -p /run/apache2; . /etc/apache2/envvars; exec apache2 -D FOREGROUND"


@dataclass
class Site:
    tree: Tree
    pebble: Pebble
    settings: Settings
    port: int
    config: Path

    async def curl(self, name: str, *options: str, path: str = PATH) -> str:
        command = ["curl", "--silent", "--max-time", "20", "--interface", CLIENT]
        command += ["--cacert", str(self.pebble.folder / "roots.pem"), *options]
        command += ["--resolve", f"{name}:{self.port}:127.0.0.1", f"https://{name}:{self.port}{path}"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        return output.decode() if process.returncode == 0 else f"exit {process.returncode}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("apache")
    http, https, front, console = (free_port() for _ in range(4))
    dns = FakeDns()
    for name in (*(f"mta-sts.{domain}" for domain in DOMAINS), "mailward.example.org"):
        dns.set(name, "A", "127.0.0.1")
    with make_tree(TREE) as tree, dns.threaded(), Pebble(folder, dns=dns.address, http_port=http) as pebble:
        (folder / "roots.pem").write_bytes(pebble.roots())
        config = folder / "mailward.toml"
        places = {"port = 8081": f"port = {front}", "192.0.2.10:443": f"127.0.0.1:{https}"}
        places |= {"port = 8000": f"port = {console}"}
        config.write_text(read_recipe("apache.md", CONFIG, places))
        prepare(tree, pebble, http=http, https=https, front=front, console=console)
        log = tree.root / "var/log/apache2/error.log"
        log.unlink()  # the tree's own, which all copies share
        names = (*(f"mta-sts.{name}" for name in DOMAINS), "mailward.example.org")

        def is_certified() -> bool:
            return all(f"Domain {name} has been setup" in log.read_text() for name in names)

        with running(tree, "sh", "-c", START, is_up=lambda: is_open(http)) as apache:
            until(is_certified)
            apache.process.send_signal(signal.SIGUSR1)  # what `systemctl reload apache2` does
            until(lambda: log.read_text().count("resuming normal operations") == 2)
            yield Site(tree, pebble, load_settings(config, {"MAILWARD_DATA": str(folder)}), https, config)


def prepare(tree: Tree, pebble: Pebble, *, http: int, https: int, front: int, console: int) -> None:
    recipe = read_recipe(
        "apache.md",
        "/etc/apache2/sites-available/mailward.conf",
        {
            "*:443": f"127.0.0.1:{https}",
            "127.0.0.1:8081": f"127.0.0.1:{front}",
            "127.0.0.1:8000": f"127.0.0.1:{console}",
            DIRECTORY: pebble.directory.url,
        },
    )
    tree.put("/etc/apache2/sites-available/mailward.conf", recipe)
    tree.put("/own/pebble.pem", Path(pebble.directory.ca_file).read_text())
    lab = f"MDCACertificateFile /own/pebble.pem\nMDPortMap http:{http} https:{https}\nServerName lab.test\n"
    tree.put("/etc/apache2/conf-enabled/lab.conf", lab)
    tree.put("/etc/apache2/ports.conf", f"Listen 127.0.0.1:{http}\nListen 127.0.0.1:{https}\n")
    tree.put(
        "/etc/apache2/sites-enabled/000-default.conf", f"<VirtualHost 127.0.0.1:{http}>\n</VirtualHost>\n"
    )
    enabling = re.search(
        r"^    (a2enmod [a-z0-9 _]+) && (a2ensite mailward)$",
        (FOLDER / "apache.md").read_text(),
        re.MULTILINE,
    )
    assert enabling
    for command in enabling.groups():
        tree.call(*command.split())


@pytest.fixture
async def fetches(site: Site, tmp_path: Path) -> AsyncIterator[list[Finished]]:
    """What our door for fronts was asked."""
    policies = {f"mta-sts.{name}": POLICY.format(name).encode() for name in DOMAINS}
    save_snapshot(Snapshot(1, policies), tmp_path / "snapshot.json")
    own, finished = site.settings.policy_host, list[Finished]()
    keeper = SnapshotKeeper(tmp_path / "snapshot.json", knows_leading=True)
    host = PolicyHost(keeper, own.public_name, log_requests=False)
    fronted = FrontedHost(host.answer, finished.append, keeper, make_proxy_test(own.fronts))
    server: Server = await serve_fronts(site.settings, fronted)
    yield finished
    await server.close(grace_seconds=0)


async def test_each_domain_has_its_policy_and_a_certificate_of_the_ca(
    site: Site, fetches: list[Finished]
) -> None:
    for version in ("1.1", "2"):
        for name in DOMAINS:
            told = await site.curl(
                f"mta-sts.{name}", f"--http{version}", "--write-out", "%{http_version} %{http_code}"
            )
            assert told == f"{POLICY.format(name)}{version} 200"


async def test_the_client_is_who_fetched(site: Site, fetches: list[Finished]) -> None:
    await site.curl("mta-sts.example.com", "--header", "X-Forwarded-For: 192.0.2.77")
    assert [(each.peer, each.status) for each in fetches] == [(CLIENT, 200)]


async def test_the_look_before_an_id_is_told_finds_the_policy_through_apache(
    site: Site, fetches: list[Finished], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(site.pebble.folder / "roots.pem"))
    looks = await look_at_hosts(site.settings, Domain("example.com"), POLICY.format("example.com"))
    assert looks == {f"127.0.0.1:{site.port}": ""}


async def test_while_the_policy_host_is_away_clients_are_told_so(site: Site) -> None:
    status = ("--output", "/dev/null", "--write-out", "%{http_code}")
    assert await site.curl("mta-sts.example.com", *status) == "503"


class Behind(Platform):
    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"MAILWARD_CONFIG": str(self.data.with_suffix(".toml"))}


@pytest.mark.long
async def test_failed_log_ins_are_limited_for_who_fails_and_for_nobody_else(
    site: Site, tmp_path: Path
) -> None:
    async def fail(number: int, client: str) -> str:
        made_up = f"X-Forwarded-For: 203.0.113.{number}"
        form = f"csrfmiddlewaretoken={'c' * 32}&login={number}@guess.test&password=wrong"
        options = ["--interface", client, "--cookie", f"csrftoken={'c' * 32}", "--data", form]
        return await site.curl("mailward.example.org", "--header", made_up, *options, path="/login/")

    shutil.copy(site.config, tmp_path / "data.toml")
    names = ("POLICY_HOST_PORT", "REPORTS_SMTP_PORT", "REPORTS_HTTPS_PORT")
    platform = Behind(tmp_path / "data", {name: free_port() for name in names})
    platform.start()
    try:
        assert "password is not right" in await fail(0, "127.0.9.1")
        pages = [await fail(number, "127.0.9.1") for number in range(1, 11)]
        assert "Too many attempts" in pages[-1]
        assert "password is not right" in await fail(0, "127.0.9.2")
    finally:
        platform.stop()
