"""The zoo's servers in network namespaces: NSD, unbound, nginx, Postfix, Exim, OpenSMTPD; and the check."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.zoo import certs
from tests.zoo.mtas import Mtas
from tests.zoo.rows import Mx, Row

from mailward.lab.mta import HOME, Postfix, find_tree
from mailward.lab.network import Network, address, run
from mailward.lab.zones import DEAD, DNS, Dns, Zone

SENDER, FIRST_MX = 10, 100
WEBS = (80, 81, 82, 83)
"""The usual web server, another one, an address where nobody listens, and one for a row that needs it for itself."""
_NOBODY = 2
READY_SECONDS = 90
ALL_AT_ONCE = ("--probes-per-hour", "1000000")
"""All policies are at two addresses."""
_ROOT = Path(__file__).parents[2]
_ASK = """
from dns import message, query
print(query.udp(message.make_query("test", "SOA", want_dnssec=True), "127.0.0.1", 2))
"""
_NGINX = """\
worker_processes 1;
daemon off;
pid /zoo/nginx.pid;
error_log /zoo/nginx.log;
user root;
events {{}}
http {{
  access_log off;
  client_body_temp_path /zoo/t1; proxy_temp_path /zoo/t2; fastcgi_temp_path /zoo/t3;
  uwsgi_temp_path /zoo/t4; scgi_temp_path /zoo/t5;
  default_type text/plain;
  types {{ }}
  server_names_hash_bucket_size 128;
  {servers}
}}
"""
_SERVER = """\
  server {{
    listen {address}:443 ssl;
    server_name {name};
    ssl_certificate /zoo/{name}.pem;
    ssl_certificate_key /zoo/{name}.pem;
    root /zoo/{folder};
    {more}
  }}
"""


@dataclass
class Servers:
    folder: Path
    network: Network
    zoo: certs.Zoo
    dns: Dns
    postfix: Postfix
    mtas: Mtas | None
    numbers: dict[str, int]
    """Of each MX host, by its name."""

    def check(self, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
        """What `mailward check --json` says about each row's domain."""
        documents: dict[str, dict[str, Any]] = {}
        for is_deep in (False, True):
            documents |= self._check([row for row in rows if row.is_deep is is_deep], is_deep=is_deep)
        return documents

    def _check(self, rows: Sequence[Row], *, is_deep: bool) -> dict[str, dict[str, Any]]:
        command = [sys.executable, "-m", "mailward", "check", "--json", "--allow-private", *ALL_AT_ONCE]
        command += ["--resolver", "127.0.0.1", "--ca-file", str(self.zoo.root_file)]
        command += ["--deep"] if is_deep else []
        inside = [*self.network.inside("sender"), *command, *(row.domain for row in rows)]
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder / "state")}
        done = subprocess.run(inside, capture_output=True, text=True, check=False, env=environment)
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(documents) == len(rows), done.stderr
        return {document["domain"]: document for document in documents}


@contextmanager
def running_zoo(rows: Sequence[Row]) -> Iterator[Servers]:
    numbers = {f"{mx.name}.{row.domain}": 0 for row in rows for mx in row.mx}
    numbers = {name: FIRST_MX + at for at, name in enumerate(numbers)}
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="zoo-", dir=find_tree("trixie").parent))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        hosts = {"dns": [DNS, DEAD], "sender": [SENDER], "receiver": [*numbers.values()], "web": [*WEBS]}
        network = Network(hosts)
        stack.callback(network.close)
        postfix = Postfix.unpack("trixie", folder / "tree", network, "receiver")
        mtas = None
        if any(row.exim or row.opensmtpd for row in rows):
            mtas = Mtas.unpack(folder / "mtas", network, "receiver")
            stack.callback(mtas.stop)
        dns = Dns(postfix.root, network, ("sender", "receiver"))
        servers = Servers(folder, network, certs.Zoo(folder), dns, postfix, mtas, numbers)
        _give_v6(servers, rows)
        _start_mail(servers, rows)
        _start_injectable(servers, rows, stack)
        _start_web(servers, rows, stack)
        servers.dns.start()
        stack.callback(servers.dns.stop)
        _wait_for_dns(servers)
        yield servers


def _v6(number: int) -> str:
    return f"fd77::{number}"


def _give_v6(servers: Servers, rows: Sequence[Row]) -> None:
    network = servers.network
    pairs = [("sender", SENDER)]
    pairs += [
        ("receiver", servers.numbers[f"{mx.name}.{row.domain}"]) for row in rows for mx in row.mx if mx.has_v6
    ]
    for host, number in pairs:
        run("ip", "-n", network.name(host), "addr", "add", f"{_v6(number)}/64", "dev", "uplink", "nodad")


def _start_mail(servers: Servers, rows: Sequence[Row]) -> None:
    services: list[str] = []
    files: dict[str, bytes] = {}
    for row in rows:
        lines, bogus = [*_records(row)], []
        for mx in row.mx:
            name = f"{mx.name}.{row.domain}"
            chain = servers.zoo.issue(mx.certificate, name)
            files[f"tls/{name}.pem"] = chain.pem
            lines += _host_lines(servers, mx, name, chain)
            if mx is row.mx[0] and (row.exim or row.opensmtpd):
                _add_other(servers, row, name, chain)
            elif not mx.is_injectable:
                services += _services(servers, mx, name)
            if mx.v6_certificate:
                files[f"tls/{name}-v6.pem"] = servers.zoo.issue(mx.v6_certificate, name).pem
        texts = (_fill(line, servers, row) for line in (*lines, *row.zone))
        servers.dns.add(Zone(f"{row.domain}.", list(texts), row.is_signed))
        bogus = [Zone(f"{name}.{row.domain}.", is_bogus=True, parent=f"{row.domain}.") for name in row.bogus]
        servers.dns.add(*bogus)
    main = {"inet_protocols": "all", "smtpd_peername_lookup": "no", "default_process_limit": "100"}
    main |= {"smtpd_client_connection_count_limit": "0", "mydestination": "static:all"}
    servers.postfix.configure(main, services, files)
    servers.postfix.start()
    if servers.mtas is not None:
        servers.mtas.start()


def _add_other(servers: Servers, row: Row, name: str, chain: certs.Chain) -> None:
    assert servers.mtas is not None
    add = servers.mtas.add_exim if row.exim else servers.mtas.add_opensmtpd
    text = _fill(row.exim or row.opensmtpd, servers, row)
    add(name, address(servers.numbers[name]), text, chain.pem)


def _start_injectable(servers: Servers, rows: Sequence[Row], stack: ExitStack) -> None:
    names = [f"{mx.name}.{row.domain}" for row in rows for mx in row.mx if mx.is_injectable]
    if names:
        run("make", "-s", "-C", _ROOT, ".venv-zoo/.ready")
    for name in names:
        pem = servers.postfix.home / "tls" / f"{name}.pem"
        arguments = [address(servers.numbers[name]), name, str(pem)]
        python = [str(_ROOT / ".venv-zoo/bin/python"), str(Path(__file__).with_name("injectable.py"))]
        process = subprocess.Popen([*servers.network.inside("receiver"), *python, *arguments])
        stack.callback(process.wait)
        stack.callback(process.terminate)


def _records(row: Row) -> Iterator[str]:
    if row.mx_records:
        yield from (f"@ MX {record}" for record in row.mx_records)
    else:
        yield from (f"@ MX {10 * (at + 1)} {mx.name}" for at, mx in enumerate(row.mx))
    yield from (f'_mta-sts TXT "{text}"' for text in row.record)
    yield from (f'_smtp._tls TXT "{text}"' for text in row.reports)
    if row.policy:
        yield from (f"mta-sts A {address(WEBS[which])}" for which in row.web)


def _host_lines(servers: Servers, mx: Mx, name: str, chain: certs.Chain) -> Iterator[str]:
    number = servers.numbers[name]
    yield f"{mx.name} A {address(number)}"
    if mx.has_v6:
        yield f"{mx.name} AAAA {_v6(number)}"
    for text in mx.tlsa:
        issuer = servers.zoo.intermediate.certificate
        yield f"_25._tcp.{mx.name} TLSA {certs.tlsa(text, chain, issuer)}"


def _services(servers: Servers, mx: Mx, name: str) -> list[str]:
    number = servers.numbers[name]
    lines = []
    if mx.is_listening:
        lines += _service(address(number), name, f"{name}.pem", mx.postfix)
    if mx.v6_certificate:
        lines += _service(f"[{_v6(number)}]", name, f"{name}-v6.pem", mx.postfix)
    return lines


def _service(where: str, name: str, file: str, options: Sequence[str]) -> list[str]:
    own = [f"myhostname={name}", "smtpd_tls_security_level=may", f"smtpd_tls_chain_files={HOME}/tls/{file}"]
    return [f"{where}:25 inet n - n - - smtpd", *(f"  -o {option}" for option in (*own, *options))]


def _start_web(servers: Servers, rows: Sequence[Row], stack: ExitStack) -> None:
    folder = servers.postfix.root / "zoo"
    folder.mkdir()
    blocks = [_default_site(servers, folder)]
    for row in rows:
        if not row.policy:
            continue
        name = f"mta-sts.{row.domain}"
        (folder / f"{name}.pem").write_bytes(servers.zoo.issue(row.web_certificate, name).pem)
        for which in {0, 1, *row.web} - {_NOBODY}:
            text = row.policy.replace("2419200", "2419201") if which == 1 else row.policy
            documents = folder / f"{name}-{which}" / ".well-known"
            documents.mkdir(parents=True)
            (documents / "mta-sts.txt").write_bytes(_fill(text, servers, row).encode())
            more = _fill(row.nginx, servers, row)
            place = address(WEBS[which])
            blocks.append(_SERVER.format(address=place, name=name, folder=f"{name}-{which}", more=more))
    (folder / "large.txt").write_text("mx: mx.example\n" * 6000)
    (folder / "nginx.conf").write_text(_NGINX.format(servers="".join(blocks)))
    nginx = ["chroot", str(servers.postfix.root), "nginx", "-c", "/zoo/nginx.conf", "-e", "/zoo/nginx.log"]
    process = subprocess.Popen([*servers.network.inside("web"), *nginx])
    stack.callback(process.wait)
    stack.callback(process.terminate)


def _default_site(servers: Servers, folder: Path) -> str:
    """What nginx shows to who asks for a name that it does not know: its first server."""
    name = "www.host.example"
    (folder / f"{name}.pem").write_bytes(servers.zoo.issue("good", name).pem)
    (folder / name).mkdir()
    return _SERVER.format(address=address(WEBS[0]), name=name, folder=name, more="")


def _fill(text: str, servers: Servers, row: Row) -> str:
    if row.mx:
        host = f"{row.mx[0].name}.{row.domain}"
        text = text.replace("ADDRESS", address(servers.numbers[host])).replace("HOST", host)
    return text.replace("DOMAIN", row.domain)


def _wait_for_dns(servers: Servers) -> None:
    ends = time.monotonic() + READY_SECONDS
    command = [*servers.network.inside("sender"), sys.executable, "-c", _ASK]
    environment = {**os.environ}
    while " AD" not in (
        said := subprocess.run(command, capture_output=True, text=True, check=False, env=environment).stdout
    ):
        assert time.monotonic() < ends, said
        time.sleep(0.2)
