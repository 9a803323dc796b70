"""The servers that bench/policy_host.py compares, each on CPU 0: ours, nginx and uvicorn.

Each serves the same policy over TLS with ECDSA P-256; ours chooses among all names, the others have one certificate.
"""

import asyncio
import dataclasses
import os
import resource
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from mailward.config import Certificates, PolicyHost, Settings

POLICY = (
    "version: STSv1\r\nmode: enforce\r\nmx: mx1.example.test\r\nmx: *.example.test\r\nmax_age: 604800\r\n"
)
TICKS = os.sysconf("SC_CLK_TCK")
NGINX = """daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 16384; }}
http {{
  access_log off; server_tokens off; default_type text/plain; client_header_timeout 10; lingering_close off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl backlog=512;
    ssl_certificate {folder}/leaf.pem; ssl_certificate_key {folder}/leaf.pem;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off;
    location = /.well-known/mta-sts.txt {{ root {folder}/www; }}
  }}
}}
"""


def host(number: int) -> str:
    return f"mta-sts.d{number}.test"


def set_up_django(folder: Path) -> None:
    os.environ |= {"MAILWARD_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
    import django

    django.setup()


def serve_ours(folder: Path) -> None:
    set_up_django(folder)
    from mailward.hosting import policyweb
    from mailward.hosting.fetchcounts import FetchCounter
    from mailward.hosting.snapshot import SnapshotKeeper

    # the limits an address have to hold for a client on loopback too
    policyweb.LIMITS = dataclasses.replace(policyweb.LIMITS, count_loopback=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def main() -> None:
        settings = Settings(
            data=str(folder),
            certificates=Certificates(development_ca=False),
            policy_host=PolicyHost(log_requests=False),
        )
        keeper = SnapshotKeeper(folder / "snapshot.json")
        server = await policyweb.serve_policies(settings, keeper, port=0, counter=FetchCounter(len))
        print(server.port, flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())


def serve_uvicorn(folder: Path) -> None:
    import uvicorn

    body = POLICY.encode()
    headers = [(b"content-type", b"text/plain"), (b"cache-control", b"max-age=60")]
    headers.append((b"content-length", str(len(body)).encode()))

    async def application(
        _scope: dict[str, Any], _receive: object, send: Callable[..., Coroutine[Any, Any, None]]
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        application,
        port=0,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        ssl_certfile=folder / "leaf.pem",
    )
    server = uvicorn.Server(config)

    async def main() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await serving

    uvloop.run(main())


@dataclass
class Process:
    child: "subprocess.Popen[str]"
    port: int

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def stop(self) -> None:
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def start_python(name: str, folder: Path) -> Process:
    command = ["taskset", "-c", "0", sys.executable, "-m", "bench.policy_servers", name, str(folder)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return Process(child, int(child.stdout.readline()))


def start_nginx(folder: Path, *, port: int) -> Process:
    """nginx (Debian's nginx-light) with one certificate and the policy as a file."""
    place = folder / f"nginx-{port}"
    policy = place / "www" / ".well-known" / "mta-sts.txt"
    policy.parent.mkdir(parents=True)
    policy.write_bytes(POLICY.encode())
    (place / "leaf.pem").write_bytes((folder / "leaf.pem").read_bytes())
    for each in (place, *place.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    (place / "nginx.conf").write_text(NGINX.format(folder=place, port=port))
    command = ["taskset", "-c", "0", "/usr/sbin/nginx", "-c", str(place / "nginx.conf")]
    process = Process(subprocess.Popen(command, text=True, stderr=subprocess.DEVNULL), port)
    deadline = time.monotonic() + 20
    while True:
        try:
            ssl.get_server_certificate(("127.0.0.1", port), timeout=5)
        except OSError:
            if time.monotonic() > deadline or process.child.poll() is not None:
                raise
            time.sleep(0.05)
            continue
        return process


if __name__ == "__main__":
    {"mailward": serve_ours, "uvicorn": serve_uvicorn}[sys.argv[1]](Path(sys.argv[2]))
