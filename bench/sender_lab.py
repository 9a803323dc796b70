"""The laboratory of bench/sender.py: a network namespace with NSD, nginx, a CA and a policy host for each domain.

Three zones: bench.test is not signed; tlsa.test and signed.test are, with and without TLSA records for the MX hosts.
unbound validates on port 5353 where DANE is measured, and calls bogus.test bogus.
"""

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.zone
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_CORE, CLIENT_CORE = "0", "1"
POLICY = (
    "version: STSv1\r\nmode: enforce\r\nmx: mx1.bench.test\r\nmx: *.mail.bench.test\r\nmax_age: 604800\r\n"
)
PEM = serialization.Encoding.PEM
ZONES = ("bench.test", "tlsa.test", "signed.test")
TLSA = "3 1 1 " + "ab" * 32
_SIGNED_FOR = dt.timedelta(days=80)  # signatures; the certificates end a little later


def enter_namespace(folder: Path, program_name: str = "bench.sender") -> None:
    """Start this program anew, where its network is its own and port 53 is its resolver."""
    if os.environ.get("MAILWARD_BENCH_INSIDE"):
        return
    if os.geteuid() != 0:
        sys.exit(f"{program_name}: needs root, for a network namespace of its own")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    # nice(1) alone counts within a session where the kernel groups processes by session (sched_autogroup)
    inside = "echo -15 > /proc/self/autogroup || true; "
    inside += f'ip link set lo up; mount --bind {folder}/resolv.conf /etc/resolv.conf; exec "$@"'
    os.environ["MAILWARD_BENCH_INSIDE"] = "1"
    program = [sys.executable, "-m", program_name, *sys.argv[1:]]
    command = ["setsid", "--wait", "unshare", "--mount", "--net", "sh", "-ec", inside, "sh", *program]
    os.execvp("setsid", command)


def pinned(core: str, command: Sequence[str]) -> list[str]:
    """Both sides alike are put before what else the machine does."""
    return ["nice", "-n", "-15", "taskset", "-c", core, *command]


@dataclass(frozen=True)
class Lab:
    folder: Path
    domains: int

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def keys(self, kind: str, count: int | None = None, zone: str = ZONES[0]) -> Path:
        """A file of domains: `d` have a policy, `n` have none."""
        count = count or self.domains
        path = self.folder / f"{kind}-{count}-{zone}.txt"
        path.write_text("".join(f"{kind}{number:05}.{zone}\n" for number in range(count)))
        return path

    def requests(self) -> list[str]:
        """Hosts whose policy was fetched."""
        return (self.folder / "access.log").read_text().split()

    def make(self) -> None:
        if not (self.folder / "ready-2").exists():
            (self.folder / "certs").mkdir(parents=True, exist_ok=True)
            self._issue()
            for zone in ZONES:
                self._write_zone(zone)
                if zone != ZONES[0]:
                    self._sign_zone(zone)
            (self.folder / "ready-2").touch()
        self._write_dns()
        self._write_nginx()

    def start(self) -> list["subprocess.Popen[bytes]"]:
        (self.folder / "access.log").unlink(missing_ok=True)
        nsd = pinned(CLIENT_CORE, ["nsd", "-d", "-c", str(self.folder / "nsd.conf")])
        nginx = pinned(CLIENT_CORE, ["nginx", "-c", str(self.folder / "nginx.conf")])
        with (self.folder / "servers.log").open("wb") as log:
            children = [subprocess.Popen(command, stdout=log, stderr=log) for command in (nsd, nginx)]
        time.sleep(1.5)
        return children

    def start_unbound(self) -> "subprocess.Popen[bytes]":
        """With an empty cache."""
        with (self.folder / "unbound.log").open("ab") as log:
            command = pinned(CLIENT_CORE, ["unbound", "-d", "-c", str(self.folder / "unbound.conf")])
            child = subprocess.Popen(command, stdout=log, stderr=log)
        time.sleep(1)
        return child

    def _issue(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
        now = dt.datetime.now(dt.UTC)  # noqa: TID251 - certificates of the laboratory
        start, end = now - dt.timedelta(days=1), now + dt.timedelta(days=90)

        def builder(subject: x509.Name) -> x509.CertificateBuilder:
            made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
            made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
            return made.not_valid_before(start).not_valid_after(end)

        ca = builder(issuer).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.ca_file.write_bytes(ca.sign(key, hashes.SHA256()).public_bytes(PEM))
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / "leaf.key").write_bytes(private)
        for domain in self._domains():
            name = f"mta-sts.{domain}"
            leaf = builder(x509.Name([])).add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True
            )
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
            certificate = leaf.add_extension(usage, critical=False).sign(key, hashes.SHA256())
            (self.folder / "certs" / f"{name}.crt").write_bytes(certificate.public_bytes(PEM))

    def _domains(self) -> list[str]:
        domains = [f"d{number:05}.{zone}" for zone in ZONES for number in range(self.domains)]
        return domains + [f"hot{number:05}.{ZONES[0]}" for number in range(20)]

    def _write_zone(self, zone: str) -> None:
        lines = [
            f"$ORIGIN {zone}.",
            "$TTL 300",
            "@ SOA ns h 1 3600 600 86400 3600",
            "@ NS ns",
            "ns A 127.0.0.1",
        ]
        for domain in self._domains():
            name, _, of = domain.partition(".")
            if of != zone:
                continue
            lines += [f'_mta-sts.{name} TXT "v=STSv1; id=1;"', f"mta-sts.{name} A 127.0.0.1"]
            lines += [f"{name} MX 10 mx1.{name}", f"mx1.{name} A 127.0.0.1"]
            if zone == "tlsa.test":
                lines.append(f"_25._tcp.mx1.{name} TLSA {TLSA}")
        path = self.folder / f"zone-{zone}"
        path.write_text("\n".join(lines) + "\n")

    def _sign_zone(self, zone: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        public = dns.dnssec.make_dnskey(key.public_key(), 13, flags=257)
        path = self.folder / f"zone-{zone}"
        signed = dns.zone.from_file(str(path), origin=zone, relativize=False)
        dns.dnssec.sign_zone(
            signed,
            keys=[(key, public)],
            add_dnskey=True,
            dnskey_ttl=300,
            lifetime=int(_SIGNED_FOR.total_seconds()),
        )
        signed.to_file(str(path), relativize=False)
        (self.folder / f"anchor-{zone}").write_text(f"{zone}. 300 IN DNSKEY {public.to_text()}\n")
        if zone == "tlsa.test":  # the anchor of a zone that is not signed: whatever it says is bogus
            (self.folder / "anchor-bogus").write_text(f"bogus.test. 300 IN DNSKEY {public.to_text()}\n")

    def _write_dns(self) -> None:
        (self.folder / "zone-bogus.test").write_text(
            "$ORIGIN bogus.test.\n$TTL 300\n@ SOA ns h 1 3600 600 86400 3600\n@ NS ns\nns A 127.0.0.1\n@ A 127.0.0.1\n"
        )
        # its limit of answers a second would stall lookups for seconds
        settings = 'ip-address: 127.0.0.1\nusername: ""\nzonesdir: ""\ndatabase: ""\nserver-count: 1\nrrl-ratelimit: 0'
        files = f"pidfile: {self.folder}/nsd.pid\nxfrdfile: {self.folder}/xfrd.state\nzonelistfile: {self.folder}/zones"
        zones = (*ZONES, "bogus.test")
        served = "\n".join(f"zone:\nname: {zone}\nzonefile: {self.folder}/zone-{zone}" for zone in zones)
        control = "remote-control:\ncontrol-enable: no"
        (self.folder / "nsd.conf").write_text(f"server:\n{settings}\n{files}\n{control}\n{served}\n")
        self._write_unbound(zones)

    def _write_unbound(self, zones: Sequence[str]) -> None:
        stubs = "\n".join(f"stub-zone:\nname: {zone}\nstub-addr: 127.0.0.1" for zone in zones)
        anchors = "\n".join(
            f'trust-anchor-file: "{self.folder}/anchor-{zone}"'
            for zone in ("tlsa.test", "signed.test", "bogus")
        )
        (self.folder / "unbound.conf").write_text(f"""
server:
interface: 127.0.0.1
port: 5353
username: ""
chroot: ""
directory: "{self.folder}"
pidfile: "{self.folder}/unbound.pid"
use-syslog: no
num-threads: 1
outgoing-range: 4096
num-queries-per-thread: 2048
do-not-query-localhost: no
do-ip6: no
module-config: "validator iterator"
local-zone: "test." nodefault
{anchors}
{stubs}
remote-control:
control-enable: no
""")

    def _write_nginx(self) -> None:
        folder = self.folder
        well_known = folder / "www/.well-known"
        well_known.mkdir(parents=True, exist_ok=True)
        (well_known / "mta-sts.txt").write_text(POLICY, newline="")
        (folder / "nginx.conf").write_text(f"""
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log crit;
events {{ worker_connections 4096; }}
http {{
  types {{ text/plain txt; }} log_format host $host; access_log {folder}/access.log host;
  server {{
    listen 127.0.0.1:443 ssl backlog=4096; ssl_protocols TLSv1.3;
    ssl_certificate {folder}/certs/$ssl_server_name.crt; ssl_certificate_key {folder}/leaf.key;
    root {folder}/www;
  }}
}}
""")
