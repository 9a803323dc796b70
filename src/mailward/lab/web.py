"""The policy hosts: one nginx, a name and a folder for each domain that has a policy."""

import subprocess
from pathlib import Path

from mailward.lab.certs import Authority
from mailward.lab.network import Network, address

WEB = 80
HOME = "/web"  # inside the tree

_NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
user root;
events {{}}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  default_type text/plain;
  server_names_hash_bucket_size 128;
  {servers}
}}
"""
_SERVER = """\
  server {{
    listen {address}:443 ssl;
    server_name {name};
    ssl_certificate {folder}/{name}.pem;
    ssl_certificate_key {folder}/{name}.pem;
    root {folder}/{name};
  }}
"""


class PolicyHosts:
    def __init__(self, root: Path, network: Network, authority: Authority) -> None:
        """`root`: of the tree that has nginx."""
        self._root, self._network, self._authority = root, network, authority
        self._folder = root / HOME[1:]
        self._folder.mkdir()
        self._servers: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None

    def add(self, domain: str, policy: str, *, is_self_signed: bool = False) -> None:
        name = f"mta-sts.{domain}"
        documents = self._folder / name / ".well-known"
        documents.mkdir(parents=True)
        (documents / "mta-sts.txt").write_text(policy)
        pem = self._authority.issue_pem(name, self_signed=is_self_signed)
        (self._folder / f"{name}.pem").write_bytes(pem)
        self._servers.append(_SERVER.format(address=address(WEB), name=name, folder=HOME))

    def start(self) -> None:
        (self._folder / "nginx.conf").write_text(_NGINX.format(folder=HOME, servers="".join(self._servers)))
        nginx = ["nginx", "-c", f"{HOME}/nginx.conf", "-e", f"{HOME}/nginx.log"]
        command = [*self._network.inside("web"), "chroot", str(self._root), *nginx]
        self._process = subprocess.Popen(command)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
