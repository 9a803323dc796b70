"""The laboratory of bench/survey.py: one zone of many names whose every answer is known, NSD, and nginx with policies.

What a name has follows from its number alone, so that what a survey must find of it is written down beside what is
served, and not computed by what is measured.
"""

import contextlib
import datetime as dt
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.message
import dns.query
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PEM = serialization.Encoding.PEM
PROVIDERS = 40
POLICY_ADDRESSES = 24
"""Of the hosts that serve most policies."""
_PRIME = 7_919  # spreads kinds over the list
REDIRECTING, HTML, CLOSED = "127.0.2.1", "127.0.2.2", "127.0.2.3"
STS = "sts-absent"
RPT = "tlsrpt-missing"

# of a thousand names: MX first
_MX = ((25, "none"), (35, "null"), (60, "implicit"), (75, "dead"), (420, "own"), (1000, "provider"))
# of 1,000 names: what of MTA-STS, 7.5 % in all; the rest has none
_POLICIES = (
    (28, "enforce"),
    (44, "testing"),
    (47, "mode-none"),
    (50, "not-found"),
    (52, "redirect"),
    (54, "html"),
    (56, "expired"),
    (58, "wrong-name"),
    (59, "self-signed"),
    (61, "bad-mode"),
    (65, "uncovered"),
    (67, "two-records"),
    (69, "bad-id"),
    (71, "no-address"),
    (73, "closed"),
    (75, "version"),
)
_REPORTS = ((70, "good"), (72, "syntax"), (74, "two"), (76, "no-mail"))
_SERVED = {"enforce", "testing", "mode-none", "bad-mode", "uncovered", "two-records", "bad-id", "version"}
_CERTIFIED = _SERVED | {"not-found", "redirect", "html", "expired", "wrong-name", "self-signed"}

# what a survey must say: the code of the fault, and the status of the fetch
_FAULTS = {
    "not-found": ("policy-not-there", "status"),
    "redirect": ("policy-redirected", "redirect"),
    "html": ("policy-media-type", "media-type"),
    "expired": ("sts-webpki-invalid", "certificate-expired"),
    "wrong-name": ("sts-webpki-invalid", "certificate-name"),
    "self-signed": ("sts-webpki-invalid", "certificate-self-signed"),
    "bad-mode": ("sts-policy-invalid", "ok"),
    "uncovered": ("mx-not-in-policy", "ok"),
    "two-records": ("sts-record-several", "ok"),
    "bad-id": ("sts-record-id", "ok"),
    "no-address": ("policy-host-not-in-dns", "no-address"),
    "closed": ("policy-host-unreachable", "connect"),
    "version": ("sts-record-version", "ok"),
}


@dataclass(frozen=True)
class Name:
    number: int
    mx: str
    policy: str
    report: str

    @property
    def domain(self) -> str:
        return f"d{self.number:06}.test"

    @property
    def exchanger(self) -> str:
        """The MX host, where there is one."""
        if self.mx in ("own", "dead"):
            return f"mx.{self.domain}"
        # half of those that use a provider use the first three
        provider = self.number % 3 if self.number % 2 else self.number * 13 % PROVIDERS
        return f"mx.provider{provider:02}.test"

    @property
    def takes_mail(self) -> bool:
        return self.mx in ("implicit", "own", "provider")


def make_name(number: int) -> Name:
    spread = number * _PRIME
    mx = _pick(_MX, spread % 1000)
    takes_mail = mx in ("implicit", "own", "provider")
    # another stride for each, so that all combinations come up
    policy = _pick(_POLICIES, (spread // 7 + number // 1000) % 1000) if takes_mail else ""
    report = _pick(_REPORTS, (spread // 11 + number // 1000) % 1000) if takes_mail else ""
    return Name(number, mx, policy, report)


def _pick(table: tuple[tuple[int, str], ...], value: int) -> str:
    return next((kind for limit, kind in table if value < limit), "")


def expect(name: Name) -> dict[str, object]:
    """The cells that a survey without SMTP, at a resolver that does not validate, must have."""
    mx = {
        "null": "0 .",
        "own": f"10 {name.exchanger}",
        "dead": f"10 {name.exchanger}",
        "provider": f"10 {name.exchanger}",
    }
    status = {"none": "nxdomain", "implicit": "nodata"}.get(name.mx, "found")
    codes = {"none": {"mx-nowhere"}, "null": {"mx-null"}, "dead": {"mx-nowhere"}, "implicit": {"mx-implicit"}}
    found = set(codes.get(name.mx, set()))
    fetch, mode = "not-asked", None
    if name.takes_mail:
        found |= _expect_policy(name.policy)
        found |= {"": {RPT}, "syntax": {"tlsrpt-syntax"}, "two": {"tlsrpt-several"}}.get(name.report, set())
        if name.report == "no-mail":
            found.add("tlsrpt-target-takes-no-mail")
        if name.policy:
            fetch = _FAULTS.get(name.policy, ("", "ok"))[1]
            mode = {
                "enforce": "enforce",
                "testing": "testing",
                "mode-none": "none",
                "uncovered": "enforce",
            }.get(name.policy)
    return {
        "mx_status": status,
        "mx": mx.get(name.mx),
        "policy_status": fetch,
        "policy_mode": mode,
        "codes": found,
    }


def _expect_policy(policy: str) -> set[str]:
    if not policy:
        return {STS}
    if policy in ("testing", "mode-none"):
        return {f"policy-{policy.removeprefix('mode-')}"}
    return {_FAULTS[policy][0]} if policy in _FAULTS else set()


@dataclass(frozen=True)
class Lab:
    folder: Path
    count: int

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def list_file(self) -> Path:
        return self.folder / "list.csv"

    def names(self) -> Iterator[Name]:
        return (make_name(number) for number in range(self.count))

    def make(self) -> None:
        ready = self.folder / f"ready-{self.count}-2"
        if not ready.exists():
            (self.folder / "certs").mkdir(parents=True, exist_ok=True)
            self._issue()
            self._write_zone()
            self._write_policies()
            rows = (f"{name.number + 1},{name.domain}\n" for name in self.names())
            self.list_file.write_text("".join(rows))
            ready.touch()
        self._configure()

    def start(self) -> list["subprocess.Popen[bytes]"]:
        nsd = ["nsd", "-d", "-c", str(self.folder / "nsd.conf")]
        nginx = ["nginx", "-c", str(self.folder / "nginx.conf")]
        with (self.folder / "servers.log").open("wb") as log:
            children = [subprocess.Popen(command, stdout=log, stderr=log) for command in (nsd, nginx)]
        self._wait_for_dns()
        self._wait_for_https()
        return children

    def _wait_for_dns(self) -> None:
        """It reads the zone first."""
        question = dns.message.make_query("test.", "SOA")
        for _ in range(120):
            with contextlib.suppress(OSError, dns.exception.Timeout):
                if dns.query.udp(question, "127.0.0.1", timeout=1).answer:
                    return
            time.sleep(0.5)
        raise TimeoutError("nsd does not answer: see servers.log")

    def _wait_for_https(self) -> None:
        """It reads the certificates first."""
        for _ in range(240):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.1.1", 443), timeout=1):
                return
            time.sleep(0.5)
        raise TimeoutError("nginx does not answer: see servers.log")

    def kinds(self) -> Counter[str]:
        return Counter(name.policy for name in self.names())

    def _issue(self) -> None:
        now = dt.datetime.now(dt.UTC)  # noqa: TID251 - certificates of the laboratory
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
        ca = _builder(issuer, issuer, key, now, 90)
        ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.ca_file.write_bytes(ca.sign(key, hashes.SHA256()).public_bytes(PEM))
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / "leaf.key").write_bytes(private)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        for name in self.names():
            if name.policy not in _CERTIFIED:
                continue
            host = f"mta-sts.{name.domain}"
            own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"of {name.number}")])
            signer = own if name.policy == "self-signed" else issuer
            days = -1 if name.policy == "expired" else 90
            named = "mta-sts.provider.test" if name.policy == "wrong-name" else host
            leaf = _builder(own, signer, key, now, days).add_extension(
                x509.SubjectAlternativeName([x509.DNSName(named)]), critical=False
            )
            certificate = leaf.add_extension(usage, critical=False).sign(key, hashes.SHA256())
            (self.folder / "certs" / f"{host}.crt").write_bytes(certificate.public_bytes(PEM))

    def _write_zone(self) -> None:
        with (self.folder / "zone").open("w") as zone:
            zone.write("$ORIGIN test.\n$TTL 300\n@ SOA ns h 1 3600 600 86400 300\n@ NS ns\nns A 127.0.0.1\n")
            zone.write("nomail MX 0 .\nreports MX 10 mx.provider00\n")
            for number in range(PROVIDERS):
                zone.write(f"mx.provider{number:02} A 192.0.2.{number + 1}\n")
            for name in self.names():
                zone.writelines(f"{line}\n" for line in _records(name))
        (self.folder / "reverse").write_text(
            "@ 300 SOA ns.test. h.test. 1 3600 600 86400 300\n@ 300 NS ns.test.\n"
        )

    def _write_policies(self) -> None:
        for name in self.names():
            if name.policy in _CERTIFIED:
                folder = self.folder / "www" / f"mta-sts.{name.domain}" / ".well-known"
                folder.mkdir(parents=True, exist_ok=True)
                if name.policy != "not-found":
                    (folder / "mta-sts.txt").write_text(_policy(name), newline="")

    def _configure(self) -> None:
        folder = self.folder
        settings = 'ip-address: 127.0.0.1\nusername: ""\nzonesdir: ""\ndatabase: ""\nserver-count: 1\nrrl-ratelimit: 0'
        files = f"pidfile: {folder}/nsd.pid\nxfrdfile: {folder}/xfrd.state\nzonelistfile: {folder}/zones"
        zones = f"zone:\nname: test\nzonefile: {folder}/zone\n"
        # the peer asks for reverse names: they are answered
        zones += "".join(
            f"zone:\nname: {name}\nzonefile: {folder}/reverse\n" for name in ("in-addr.arpa", "ip6.arpa")
        )
        control = "remote-control:\ncontrol-enable: no"
        (folder / "nsd.conf").write_text(f"server:\n{settings}\n{files}\n{control}\n{zones}")
        addresses = " ".join(
            f"listen 127.0.1.{at + 1}:443 ssl backlog=4096;" for at in range(POLICY_ADDRESSES)
        )
        addresses += f" listen {REDIRECTING}:443 ssl; listen {HTML}:443 ssl;"
        # each certificate in memory: read anew for every handshake, they would cost more than what is measured
        hosts = "".join(self._serve(name) for name in self.names() if name.policy in _CERTIFIED)
        (folder / "nginx.conf").write_text(f"""
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; types {{ text/plain txt; }} ssl_protocols TLSv1.3; ssl_session_tickets off;
  root {folder}/www/$ssl_server_name;
  ssl_certificate_key {folder}/leaf.key; server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
  server {{ {addresses} ssl_reject_handshake on; }}
{hosts}}}
""")

    def _serve(self, name: Name) -> str:
        host = f"mta-sts.{name.domain}"
        kinds = {"redirect": "return 301 https://example.test/;", "html": "types { text/html txt; }"}
        certificate = f"ssl_certificate {self.folder}/certs/{host}.crt;"
        extra = kinds.get(name.policy, "")
        return f"  server {{ listen {_address(name)}:443 ssl; server_name {host}; {certificate} {extra} }}\n"


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=3))
    return made.not_valid_after(now + dt.timedelta(days=days))


def _records(name: Name) -> list[str]:
    label = name.domain.removesuffix(".test")
    if name.mx == "none":
        return []
    if name.mx == "null":
        return [f"{label} MX 0 ."]
    if name.mx == "implicit":
        records = [f"{label} A 192.0.2.200"]
    else:
        records = [f"{label} MX 10 {name.exchanger}."]
        if name.mx == "own":
            records.append(f"mx.{label} A 192.0.2.100")
            if name.number % 4 == 0:
                records.append(f"mx.{label} AAAA 2001:db8::1")
    return records + _policy_records(name, label) + _report_records(name, label)


def _policy_records(name: Name, label: str) -> list[str]:
    if not name.policy:
        return []
    texts = {
        "two-records": ("v=STSv1; id=1;", "v=STSv1; id=2;"),
        "bad-id": ("v=STSv1; id=2024-01-01;",),
        "version": ("v=stsv1; id=1;",),
    }
    records = [
        f'_mta-sts.{label} TXT "{text}"' for text in texts.get(name.policy, ("v=STSv1; id=20240101;",))
    ]
    if name.policy == "no-address":
        return records
    return [*records, f"mta-sts.{label} A {_address(name)}"]


def _address(name: Name) -> str:
    """Of its policy host."""
    special = {"redirect": REDIRECTING, "html": HTML, "closed": CLOSED}
    return special.get(name.policy, f"127.0.1.{name.number % POLICY_ADDRESSES + 1}")


def _report_records(name: Name, label: str) -> list[str]:
    texts = {
        "good": ("v=TLSRPTv1; rua=mailto:tls@reports.test",),
        "syntax": ("v=TLSRPTv1; rua=tls@reports.test",),
        "two": ("v=TLSRPTv1; rua=mailto:a@reports.test", "v=TLSRPTv1; rua=mailto:b@reports.test"),
        "no-mail": ("v=TLSRPTv1; rua=mailto:tls@nomail.test",),
    }
    return [f'_smtp._tls.{label} TXT "{text}"' for text in texts.get(name.report, ())]


def _policy(name: Name) -> str:
    host = name.domain if name.mx == "implicit" else name.exchanger
    mode = {"testing": "testing", "mode-none": "none", "bad-mode": "Enforce"}.get(name.policy, "enforce")
    pattern = "mx.elsewhere.test" if name.policy == "uncovered" else host
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {pattern}\r\nmax_age: 604800\r\n"
