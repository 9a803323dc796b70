"""Exim and OpenSMTPD as MX hosts, each with the configuration that a row's directory holds.

In a row's `exim.conf` and `smtpd.conf` DOMAIN stands for the domain, ADDRESS for the address of its first MX host, and
HOST for that host's name, whose chain and key are in /zoo/tls/HOST.pem. Exim runs once a row, OpenSMTPD once for all.
"""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from mailward.lab.faults import LabFault
from mailward.lab.network import Network, run

_SCRIPT = Path(__file__).with_name("mta-tree")
_HOME = "/zoo"  # inside the tree
_READY_SECONDS = 30

_EXIM = """\
primary_hostname = {host}
local_interfaces = {address}
daemon_smtp_ports = 25
spool_directory = {home}/{host}
log_file_path = {home}/{host}/%slog
pid_file_path = {home}/{host}/pid
keep_environment =
"""
_SMTPD = """\
{includes}
match from any for any reject
"""


@dataclass
class Mtas:
    root: Path
    """Of a tree of its own."""
    network: Network
    host: str
    """Of the network, on which they listen."""
    _exims: list[tuple[str, str]] = field(default_factory=list)
    _smtpd: list[str] = field(default_factory=list)
    _addresses: list[str] = field(default_factory=list)
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    def unpack(cls, root: Path, network: Network, host: str) -> "Mtas":
        run("cp", "-al", run("bash", _SCRIPT).strip(), root)
        (root / "etc/resolv.conf").unlink(missing_ok=True)
        (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        (root / "zoo/tls").mkdir(parents=True)
        return cls(root, network, host)

    def add_exim(self, name: str, address: str, text: str, pem: bytes) -> None:
        pem_file = self._write_pem(name, pem)
        (self.root / f"zoo/{name}").mkdir()
        run("chroot", self.root, "chown", "Debian-exim", f"{_HOME}/{name}", pem_file)
        head = _EXIM.format(host=name, address=address, home=_HOME)
        path = self.root / f"zoo/{name}.conf"
        path.write_text(head + text)
        self._exims.append((name, f"{_HOME}/{name}.conf"))
        self._addresses.append(address)

    def add_opensmtpd(self, name: str, address: str, text: str, pem: bytes) -> None:
        self._write_pem(name, pem)
        (self.root / f"zoo/{name}.smtpd").write_text(text)
        self._smtpd.append(f'include "{_HOME}/{name}.smtpd"')
        if " port 25 " in text:
            self._addresses.append(address)

    def start(self) -> None:
        for name, path in self._exims:
            self._spawn(name, "exim4", "-C", path, "-bdf")
        if self._smtpd:
            (self.root / "zoo/smtpd.conf").write_text(_SMTPD.format(includes="\n".join(self._smtpd)))
            self._spawn("smtpd", "smtpd", "-d", "-f", f"{_HOME}/smtpd.conf")
        self._wait()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()

    def _write_pem(self, name: str, pem: bytes) -> str:
        """Its path inside the tree."""
        path = self.root / f"zoo/tls/{name}.pem"
        path.write_bytes(pem)
        path.chmod(0o600)  # OpenSMTPD takes no other key
        return f"{_HOME}/tls/{name}.pem"

    def _spawn(self, name: str, *command: str) -> None:
        inside = [*self.network.inside(self.host), "chroot", str(self.root), *command]
        with (self.root / f"zoo/{name}.out").open("wb") as out:
            self._processes.append(subprocess.Popen(inside, stdout=out, stderr=out))

    def _wait(self) -> None:
        """Until all listen: without a connection, which some of them answer slowly."""
        ends = time.monotonic() + _READY_SECONDS
        while True:
            listed = run(*self.network.inside(self.host), "ss", "-Htln", "sport", "=", ":25")
            missing = [address for address in self._addresses if f" {address}:25 " not in listed]
            if not missing:
                return
            if time.monotonic() > ends:
                raise LabFault(f"nobody listens at {missing}\n{self._said()}")
            time.sleep(0.1)

    def _said(self) -> str:
        return "".join(path.read_text(errors="replace") for path in sorted((self.root / "zoo").glob("*.out")))
