"""Pebble, the test authority of the ACME world, as a real process on loopback or in a network namespace.

    with Pebble(folder, dns="127.0.0.1:5353", http_port=8080) as pebble:
        pebble.directory            # an AcmeDirectory for our settings
        pebble.roots()              # the root certificate of this start, PEM

`Pebble(..., version="2.6")` is Debian 13's, which has ARI and blocked names; `version="forky"` that of Debian's next
release, which has profiles of certificates. `stop` and `start` are an outage: its
certificates and accounts are gone then, as Pebble keeps everything in memory.
"""

import json
import os
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.fakes.ports import free_port

from mailward.core.acme.settings import AcmeDirectory
from mailward.net import clock


class Pebble:
    def __init__(
        self,
        folder: Path,
        *,
        dns: str,
        http_port: int,
        version: str = "",
        address: str = "127.0.0.1",
        inside: Sequence[str] = (),
        reject_nonces: int = 0,
        sleep_seconds: int = 0,
        environment: dict[str, str] | None = None,
        **config: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.address, self._dns, self._inside = folder, address, dns, inside
        self.port, self._management = free_port(), free_port()
        self._program = _program(version)
        self._ca_file = folder / "pebble-ca.pem"
        make_certificate(address, self._ca_file, folder / "pebble.key")
        self._environment = {
            "PATH": os.environ["PATH"],
            "PEBBLE_WFE_NONCEREJECT": str(reject_nonces),
            "PEBBLE_AUTHZREUSE": "0",
            **({"PEBBLE_VA_SLEEPTIME": str(sleep_seconds)} if sleep_seconds else {"PEBBLE_VA_NOSLEEP": "1"}),
            **(environment or {}),
        }
        own = {
            "listenAddress": f"{address}:{self.port}",
            "managementListenAddress": f"{address}:{self._management}",
            "certificate": str(self._ca_file),
            "privateKey": str(folder / "pebble.key"),
            "httpPort": http_port,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": own | config}))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> AcmeDirectory:
        return self.directory_with()

    def directory_with(self, **options: Any) -> AcmeDirectory:
        url = f"https://{self.address}:{self.port}/dir"
        return AcmeDirectory(url=url, ca_file=str(self._ca_file), **options)

    def start(self) -> Self:
        command = [
            *self._inside,
            self._program,
            "-config",
            str(self.folder / "pebble.json"),
            "-dnsserver",
            self._dns,
        ]
        with (self.folder / "pebble.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        ends = time.monotonic() + 30
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"Pebble does not start: {self.log[-2000:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        return (self.folder / "pebble.log").read_text(errors="replace")

    def roots(self) -> bytes:
        return self._get(self._management, "/roots/0")

    def issued(self, host: str) -> int:
        """How many certificates it has issued for the name since the log began, by its own log."""
        return sum("Issued certificate" in line and host in line for line in self.log.splitlines())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        self.stop()

    def _is_up(self) -> bool:
        try:
            self._get(self.port, "/dir")
            self._get(self._management, "/roots/0")
        except OSError:
            return False
        return True

    def _get(self, port: int, path: str) -> bytes:
        url = f"https://{self.address}:{port}{path}"
        if self._inside:
            command = [*self._inside, "curl", "-sS", "--fail", "--cacert", str(self._ca_file), url]
            done = subprocess.run(command, check=False, capture_output=True)
            if done.returncode:
                raise OSError(done.stderr.decode())
            return done.stdout
        context = ssl.create_default_context(cafile=str(self._ca_file))
        with urllib.request.urlopen(url, context=context, timeout=5) as response:
            content: bytes = response.read()
        return content


def make_certificate(address: str, certificate: Path, key: Path) -> None:
    """Of Pebble's own HTTPS, self-signed."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pebble's front")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address)), x509.DNSName("localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        # tests move the clock of whoever looks at it
        .not_valid_before(clock.now() - timedelta(days=400))
        .not_valid_after(clock.now() + timedelta(days=4000))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _program(version: str) -> str:
    if version:
        script = Path(__file__).parent.parent / "pebble-tree"
        suite = {"2.6": "trixie"}.get(version, version)
        tree = subprocess.run([script, suite], check=True, capture_output=True, text=True)
        return f"{tree.stdout.strip()}/usr/bin/pebble"
    found = shutil.which("pebble")
    if found is None:
        raise RuntimeError("pebble is missing: scripts/test-needs installs it")
    return found
