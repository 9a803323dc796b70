"""The DNS of lab and test bed: a signed root, signed and unsigned zones below it, NSD to serve and unbound to validate.

Everything is below `test.`. A zone that is changed is served at once: no record may be kept by anybody.
"""

import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm, DSDigest

from mailward.lab.faults import LabFault
from mailward.lab.network import Network, address

DNS, DEAD = 53, 54
HOME = "/dns"  # inside the tree
_HEAD = "$TTL 0\n@ SOA ns.test. hostmaster.test. 1 60 30 3600 0\n@ NS ns.test.\n"
_DAY = 86_400
_WRONG_DS = f"12345 13 2 {'00' * 32}"


@dataclass
class Zone:
    name: str
    """With its dot at the end."""
    lines: list[str] = field(default_factory=list)
    """As in a zone file."""
    is_signed: bool = False
    is_bogus: bool = False
    """Its parent says that it is signed, by another key: whoever validates fails."""
    parent: str = "test."


def dead(label: str) -> str:
    """A line that makes lookups there fail: nobody listens where it sends the asker."""
    return f"{label} NS dead.test."


@dataclass
class Dns:
    root: Path
    """The tree that has the servers."""
    network: Network
    resolvers: tuple[str, ...] = ("sender",)
    """The hosts that have an unbound of their own, on loopback."""
    zones: dict[str, Zone] = field(default_factory=dict)
    _nsd: subprocess.Popen[bytes] | None = None
    _unbounds: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / HOME[1:]

    def add(self, *zones: Zone) -> None:
        self.zones |= {zone.name: zone for zone in zones}

    def start(self) -> None:
        self.folder.mkdir()
        self._write_all()
        (self.folder / "nsd.conf").write_text(
            _NSD.format(folder=HOME, address=address(DNS)) + self._nsd_zones()
        )
        (self.folder / "hints").write_text(f". 3600 NS ns.test.\nns.test. 3600 A {address(DNS)}\n")
        self._nsd = self._spawn("dns", "nsd", "-d", "-c", f"{HOME}/nsd.conf")
        for host in self.resolvers:
            (self.folder / f"unbound-{host}.conf").write_text(_UNBOUND.format(folder=HOME, host=host))
            self._unbounds.append(self._spawn(host, "unbound", "-d", "-c", f"{HOME}/unbound-{host}.conf"))

    def change(self, name: str, *lines: str) -> None:
        """Of an unsigned zone."""
        zone = self.zones[name]
        if zone.is_signed or self._nsd is None:
            raise LabFault(f"{name} is signed, or not served")
        zone.lines = list(lines)
        self._path(zone).write_text(_text(zone))
        self._nsd.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        for process in (self._nsd, *self._unbounds):
            if process is not None:
                process.terminate()
                process.wait()

    def _write_all(self) -> None:
        top = Zone("test.", [f"ns A {address(DNS)}", f"dead A {address(DEAD)}"], is_signed=True)
        for zone in sorted(self.zones.values(), key=lambda zone: zone.parent == "test."):  # children first
            parent = self.zones.get(zone.parent, top)
            parent.lines.append(f"{zone.name} NS ns.test.")
            trust = self._write(zone)
            if trust:
                parent.lines.append(f"{zone.name} DS {_WRONG_DS if zone.is_bogus else trust}")
        root = Zone(".", ["test. NS ns.test.", f"ns.test. A {address(DNS)}"], is_signed=True)
        root.lines.append(f"test. DS {self._write(top)}")
        (self.folder / "anchor").write_text(f". 3600 IN DS {self._write(root)}\n")

    def _write(self, zone: Zone) -> str:
        """Its DS record, if it is signed."""
        made = dns.zone.from_text(_text(zone), zone.name, relativize=False)
        trust = ""
        if zone.is_signed or zone.is_bogus:
            key = ec.generate_private_key(ec.SECP256R1())
            record = dns.dnssec.make_dnskey(key.public_key(), Algorithm.ECDSAP256SHA256, 257)
            dns.dnssec.sign_zone(made, keys=[(key, record)], lifetime=30 * _DAY, dnskey_ttl=0)
            trust = dns.dnssec.make_ds(dns.name.from_text(zone.name), record, DSDigest.SHA256).to_text()
        made.to_file(str(self._path(zone)), relativize=False)
        return trust

    def _path(self, zone: Zone) -> Path:
        return self.folder / f"{zone.name}zone"

    def _nsd_zones(self) -> str:
        names = [*self.zones, "test.", "."]
        return "".join(f'zone:\n  name: "{name}"\n  zonefile: "{HOME}/{name}zone"\n' for name in names)

    def _spawn(self, host: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command[0]}-{host}.out").open("wb") as out:
            return subprocess.Popen(
                [*self.network.inside(host), "chroot", str(self.root), *command], stdout=out, stderr=out
            )


def _text(zone: Zone) -> str:
    return f"$ORIGIN {zone.name}\n{_HEAD}" + "".join(f"{line}\n" for line in zone.lines)


_NSD = """\
server:
  ip-address: {address}
  username: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  logfile: "{folder}/nsd.log"
  rrl-ratelimit: 0
  server-count: 1
remote-control:
  control-enable: no
"""

_UNBOUND = """\
server:
  interface: 127.0.0.1
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound-{host}.pid"
  root-hints: "{folder}/hints"
  trust-anchor-file: "{folder}/anchor"
  local-zone: "test." nodefault
  module-config: "validator iterator"
  logfile: "{folder}/unbound-{host}.log"
  log-servfail: yes
  do-ip6: no
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  infra-host-ttl: 1
  use-syslog: no
remote-control:
  control-enable: no
"""
