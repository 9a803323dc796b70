"""The platform, `mailward serve`: it hosts the policies of the receiving domains, and takes the reports about them."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import msgspec

from mailward.lab.certs import Authority
from mailward.lab.faults import LabFault
from mailward.lab.network import Network, address
from mailward.lab.owner import Known, Published, Wish, Wishes
from mailward.lab.program import Program
from mailward.lab.zones import Zone

NUMBER = 200
HOST = "platform"
REPORTS = "reports.platform.test"
_READY = (" policy-host serving ", " doors serving ")
# nobody watches: what is a problem here is one because of reports
_SETTINGS = """\
data = "{folder}/data"
[console]
listen = "127.0.0.1"
[policy_host]
listen = "0.0.0.0"
port = 443
public_name = "policies.platform.test"
[reports]
domain = "{reports}"
smtp_listen = "0.0.0.0"
smtp_port = 25
https_listen = "0.0.0.0"
https_port = 8444
[certificates]
development_ca = false
[dns]
resolvers = ["127.0.0.1"]
allow_private_addresses = true
[watch]
enabled = false
[problems]
min_reporters = 1
settle_minutes = 0
"""


@dataclass
class Platform:
    folder: Path
    network: Network
    authority: Authority
    offset: timedelta = field(default_factory=timedelta)
    """How far its clock is ahead."""
    _serve: Program | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "MAILWARD_CONFIG": str(self.folder / "mailward.toml"),
            "MAILWARD_DATA": str(self.folder / "data"),
            "MAILWARD_CLOCK_OFFSET_SECONDS": str(self.offset.total_seconds()),
            "SSL_CERT_FILE": str(self.authority.file),  # it looks at policy hosts itself
        }

    def prepare(self, wishes: list[Wish]) -> list[Published]:
        """An installation with these domains; not yet running."""
        certificates = self.folder / "data" / "certs"
        certificates.mkdir(parents=True)
        (self.folder / "mailward.toml").write_text(_SETTINGS.format(folder=self.folder, reports=REPORTS))
        token = json.loads(self._command("mailward", "_prepare"))["start_token"]
        (certificates / "reports.pem").write_bytes(self.authority.issue_pem(REPORTS))
        for wish in wishes:
            if wish.mode:
                self.certify(wish.domain)
        text = msgspec.json.encode(Wishes(token, tuple(wishes)))
        answer = self._command("mailward.lab.owner", "publish", text=text)
        return msgspec.json.decode(answer, type=list[Published])

    def certify(self, domain: str, expires_in: timedelta = timedelta(days=30)) -> None:
        """The certificate of its policy host, in place of an earlier one."""
        name = f"mta-sts.{domain}"
        path = self.folder / "data" / "certs" / f"{name}.pem"
        partial = path.with_suffix(".partial")
        partial.write_bytes(self.authority.issue_pem(name, expires_in=expires_in))
        partial.replace(path)

    def start(self) -> None:
        self._serve = Program(
            self.network, HOST, ["mailward", "serve"], self.folder / "log", self.environment
        )
        runs = self._serve.said().count(_READY[0])
        self._serve.start()
        for line in _READY:  # "is ready" is said after ten seconds at most, and a busy machine takes longer
            self._serve.wait_for(line, runs + 1)

    def stop(self) -> None:
        if self._serve is not None:
            self._serve.stop()
            self._serve = None

    def go_on(self, offset: timedelta) -> None:
        """Stopped, and started again with its clock so far ahead."""
        self.stop()
        self.offset = offset
        self.start()

    def read(self) -> Known:
        """The reports that have come, and the problems that were opened."""
        return msgspec.json.decode(self._command("mailward.lab.owner", "read"), type=Known)

    def page(self, domain: str) -> str:
        """The domain's page, as its owner sees it, as HTML that stands alone."""
        return self._command("mailward.lab.owner", "page", domain).decode()

    def zone(self) -> Zone:
        here = address(NUMBER)
        return Zone(
            "platform.test.", [f"policies A {here}", f"{REPORTS}. A {here}", f"{REPORTS}. MX 10 {REPORTS}."]
        )

    def _command(self, *words: str, text: bytes = b"") -> bytes:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAILWARD", "DJANGO"))}
        done = subprocess.run(
            [sys.executable, "-m", *words],
            input=text,
            capture_output=True,
            check=False,
            env=kept | self.environment,
        )
        if done.returncode:
            raise LabFault(f"{' '.join(words)}: {done.stderr.decode(errors='replace')[-3000:]}")
        return done.stdout
