"""nginx, HAProxy and Apache of Debian before a whole Mailward, each with the files of its recipe in docs/behind."""

import csv
import os
import socket
from collections.abc import Iterator

import pytest
from tests.behind.fronts import TREE, Front, is_open, running
from tests.behind.recipes import read_recipe
from tests.behind.site import CLIENT, HOST, POLICY, Site, running_site, wait_until_announced
from tests.e2e.conftest import until
from tests.fakes.certs import Authority
from tests.fakes.ports import free_port
from tests.hosting.daemons import Tree, make_tree

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="programs of a Debian tree run as root only"),
]
CONSOLE = "mailward.example.org"
REPORTS = "tlsrpt.example.org"
BEHIND = ("8443", "8080", "8444", "8000")
"""Where Mailward listens in the documents: policies, CAs' questions, reports, console."""
QUESTION = "/.well-known/acme-challenge/mailward-" + "0" * 32
"""Of the kind that Mailward asks itself, whether a name leads to it: only Mailward knows the answer."""


def checks(haproxy: Front) -> dict[str, str]:
    """What its health checks found of each server of Mailward's, by the name of the backend."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(haproxy.tree.root / "run/haproxy/admin.sock"))
        admin.sendall(b"show stat\n")
        told = b"".join(iter(lambda: admin.recv(65_536), b"")).decode()
    rows = list(csv.DictReader(told.removeprefix("# ").splitlines()))
    return {row["pxname"]: row["check_status"] for row in rows if row["svname"] == "mailward"}


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    """Those of the documents -> those of this run."""
    return {text: free_port() for text in BEHIND}


@pytest.fixture(scope="module")
def nginx_ports() -> dict[str, int]:
    return {text: free_port() for text in ("443", "80", "4443")}


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    with make_tree(TREE) as tree:
        yield tree


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Of the front's own certificate."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def nginx(
    tree: Tree, ports: dict[str, int], nginx_ports: dict[str, int], authority: Authority
) -> Iterator[Front]:
    behind = {f"127.0.0.1:{text}": f"127.0.0.1:{port}" for text, port in ports.items()}
    own = {"127.0.0.1:4443": f"127.0.0.1:{nginx_ports['4443']}"}
    stream = read_recipe(
        "nginx.md",
        "/etc/nginx/mailward-stream.conf",
        own
        | {place: behind[place] for place in ("127.0.0.1:8443", "127.0.0.1:8444")}
        | {"listen 443;": f"listen 127.0.0.1:{nginx_ports['443']};"}
        | {"listen [::]:443;": f"listen [::1]:{nginx_ports['443']};"},
    )
    web = read_recipe(
        "nginx.md",
        "/etc/nginx/sites-enabled/mailward",
        own
        | {place: behind[place] for place in ("127.0.0.1:8080", "127.0.0.1:8000")}
        | {"listen 80;": f"listen 127.0.0.1:{nginx_ports['80']};"}
        | {"listen [::]:80;": f"listen [::1]:{nginx_ports['80']};"},
    )
    main = (tree.root / "etc/nginx/nginx.conf").read_text()
    tree.put("/etc/nginx/nginx.conf", main + "\ninclude /etc/nginx/mailward-stream.conf;\n")
    tree.put("/etc/nginx/mailward-stream.conf", stream)
    tree.put("/etc/nginx/sites-enabled/mailward", web)
    for file in ("etc/nginx/sites-enabled/default", "var/log/nginx/access.log", "var/log/nginx/error.log"):
        (tree.root / file).unlink()
    pem = authority.issue_pem(CONSOLE).decode()
    for file in (f"certs/{CONSOLE}.pem", f"private/{CONSOLE}.key"):
        tree.put(f"/etc/ssl/{file}", pem)
    with running(tree, "nginx", "-g", "daemon off;", is_up=lambda: is_open(nginx_ports["443"])) as front:
        yield front


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    ports: dict[str, int],
    nginx_ports: dict[str, int],
    nginx: Front,
) -> Iterator[Site]:
    places = {f"port = {text}": f"port = {port}" for text, port in ports.items()}
    places["192.0.2.10:443"] = f"127.0.0.1:{nginx_ports['443']}"
    folder = tmp_path_factory.mktemp("behind")
    with running_site(folder, "nginx.md", places, http_port=nginx_ports["80"]) as site:
        yield site


def assert_guesses_are_limited(site: Site, port: int, authority: Authority, guesser: str, other: str) -> None:
    """For who guesses, whatever it says about itself, and not for the other."""

    def fail(number: int, client: str) -> str:
        made_up = f"X-Forwarded-For: 203.0.113.{number}"
        form = f"csrfmiddlewaretoken={'c' * 32}&login={client}-{number}@guess.test&password=wrong"
        options = ["--cacert", str(authority.file), "--cookie", f"csrftoken={'c' * 32}"]
        options += ["--interface", client, "--header", made_up, "--data", form]
        return site.curl(port, CONSOLE, *options, path="/login/")

    assert "password is not right" in fail(0, guesser)
    pages = [fail(number, guesser) for number in range(1, 11)]
    assert "Too many attempts" in pages[-1]
    assert "password is not right" in fail(0, other)


class TestNginx:
    def test_a_domain_gets_its_certificate_and_its_id_is_told_once_nginx_shows_the_policy(
        self, site: Site, nginx_ports: dict[str, int]
    ) -> None:
        """The CA came by port 80; the worker looked at `nodes`, which is nginx."""
        site.publish()
        wait_until_announced(site)
        assert site.curl(nginx_ports["443"], HOST) == POLICY

    def test_the_client_is_who_fetched(self, site: Site, nginx_ports: dict[str, int]) -> None:
        site.curl(nginx_ports["443"], HOST)
        assert site.curl(nginx_ports["443"], HOST, family=6) == POLICY
        until(lambda: {f"peer={CLIENT}", "peer=::1"} <= site.clients(HOST))

    def test_reports_go_to_the_report_door(self, site: Site, nginx_ports: dict[str, int]) -> None:
        options = ("--data", "{}", "--header", "Content-Type: application/tlsrpt+json")
        until(
            lambda: "no such token" in site.curl(nginx_ports["443"], REPORTS, *options, path="/v1/tlsrpt/x")
        )
        until(lambda: f"peer={CLIENT} method=POST" in site.platform.log)

    def test_other_names_are_nginxs_own(
        self, site: Site, nginx_ports: dict[str, int], authority: Authority
    ) -> None:
        page = site.curl(nginx_ports["443"], CONSOLE, "--location", "--cacert", str(authority.file), path="/")
        assert "<title>" in page
        assert "Mailward" in page

    def test_failed_log_ins_are_limited_for_who_fails_and_for_nobody_else(
        self, site: Site, nginx_ports: dict[str, int], authority: Authority
    ) -> None:
        assert_guesses_are_limited(site, nginx_ports["443"], authority, "127.0.9.1", "127.0.9.2")


@pytest.fixture(scope="module")
def haproxy_ports() -> dict[str, int]:
    return {text: free_port() for text in ("443", "80", "4443")}


@pytest.fixture(scope="module")
def haproxy(
    tree: Tree, site: Site, ports: dict[str, int], haproxy_ports: dict[str, int], authority: Authority
) -> Iterator[Front]:
    own = haproxy_ports
    recipe = read_recipe(
        "haproxy.md",
        "/etc/haproxy/haproxy.cfg",
        {f"127.0.0.1:{text}": f"127.0.0.1:{port}" for text, port in ports.items()}
        | {"127.0.0.1:4443": f"127.0.0.1:{own['4443']}"}
        | {f"bind 0.0.0.0:{text}": f"bind 127.0.0.1:{own[text]}" for text in ("443", "80")}
        | {f"bind [::]:{text}": f"bind [::1]:{own[text]}" for text in ("443", "80")},
    )
    tree.put("/etc/haproxy/haproxy.cfg", (tree.root / "etc/haproxy/haproxy.cfg").read_text() + recipe)
    tree.put(f"/etc/haproxy/certs/{CONSOLE}.pem", authority.issue_pem(CONSOLE).decode())
    (tree.root / "run/haproxy").mkdir()
    with running(
        tree, "haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg", is_up=lambda: is_open(own["443"])
    ) as front:
        yield front


class TestHaproxy:
    """After nginx, which the CA asks."""

    def test_the_check_finds_the_policy_host_well(self, site: Site, haproxy: Front) -> None:
        until(lambda: "L7OK" in checks(haproxy)["mailward_policies"])

    def test_policies_go_through_and_the_client_is_who_fetched(
        self, site: Site, haproxy: Front, haproxy_ports: dict[str, int]
    ) -> None:
        before = site.platform.log.count(f"peer={CLIENT} host={HOST}")
        assert site.curl(haproxy_ports["443"], HOST) == POLICY
        assert site.curl(haproxy_ports["443"], HOST, family=6) == POLICY
        until(lambda: site.platform.log.count(f"peer={CLIENT} host={HOST}") == before + 1)

    def test_other_names_have_their_own_places(
        self, site: Site, haproxy: Front, haproxy_ports: dict[str, int], authority: Authority
    ) -> None:
        https = haproxy_ports["443"]
        options = ("--data", "{}", "--header", "Content-Type: application/tlsrpt+json")
        assert "no such token" in site.curl(https, REPORTS, *options, path="/v1/tlsrpt/x")
        page = site.curl(https, CONSOLE, "--location", "--cacert", str(authority.file), path="/")
        assert "Mailward" in page

    def test_failed_log_ins_are_limited_for_who_fails_and_for_nobody_else(
        self, site: Site, haproxy: Front, haproxy_ports: dict[str, int], authority: Authority
    ) -> None:
        assert_guesses_are_limited(site, haproxy_ports["443"], authority, "127.0.9.3", "127.0.9.4")

    def test_port_80_is_for_the_ca(
        self, site: Site, haproxy: Front, ports: dict[str, int], haproxy_ports: dict[str, int]
    ) -> None:
        port = haproxy_ports["80"]
        answer = site.curl(ports["8080"], HOST, path=QUESTION, scheme="http")
        assert len(answer) >= 32
        assert site.curl(port, HOST, path=QUESTION, scheme="http") == answer
        assert site.curl(port, "www.example.org", path=QUESTION, scheme="http") != answer
