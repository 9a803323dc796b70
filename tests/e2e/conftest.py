"""A real Mailward on ports of its own, a DNS of the tests' own, and a browser."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.fakes.dns import FakeDns
from tests.fakes.ports import free_port

PORTS = ("CONSOLE_PORT", "POLICY_HOST_PORT", "REPORTS_SMTP_PORT", "REPORTS_HTTPS_PORT")
REPORT_DOMAIN = "reports.mailward.test"
QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)


@dataclass
class Platform:
    data: Path
    dns: FakeDns
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    settings: dict[str, str] = field(default_factory=dict)
    """More of the environment."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['CONSOLE_PORT']}"

    @property
    def log(self) -> str:
        return self.data.with_suffix(".log").read_text()

    @property
    def environment(self) -> dict[str, str]:
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith(("MAILWARD", "DJANGO"))
        }
        return (
            kept
            | {f"MAILWARD_{name}": str(port) for name, port in self.ports.items()}
            | {
                "MAILWARD_DATA": str(self.data),
                "MAILWARD_REPORTS_DOMAIN": REPORT_DOMAIN,
                "MAILWARD_POLICY_HOST_PUBLIC_NAME": "policy.mailward.test",
                "MAILWARD_DNS_RESOLVERS": self.dns.address,
                "MAILWARD_DNS_AUTHORITATIVE_OVERRIDE": self.dns.address,
                "MAILWARD_DNS_ALLOW_PRIVATE_ADDRESSES": "true",
            }
            | self.settings
        )

    @contextmanager
    def serving(self) -> Iterator[Self]:
        with self.data.with_suffix(".log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "mailward", "serve"],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            until(
                lambda: "Data  " in self.log, 150
            )  # tables are made first, which a busy machine takes its time for
            yield self
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)

    def start_link(self) -> str:
        """The one-time link that `mailward serve` prints."""
        until(lambda: re.search(r"/start/\S+/", self.log))
        found = re.search(r"/start/\S+/", self.log)
        assert found
        return self.url + found[0]

    def curl(self, name: str) -> str:
        port = self.ports["POLICY_HOST_PORT"]
        command = ["curl", "--silent", "--max-time", "10", "--cacert", str(self.data / "ca" / "ca.pem")]
        command += ["--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}/.well-known/mta-sts.txt"]
        return subprocess.run(command, capture_output=True, check=False, timeout=30).stdout.decode()


def until(condition: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    dns = FakeDns()
    with dns.threaded(), Platform(tmp_path_factory.mktemp("e2e") / "data", dns).serving() as platform:
        yield platform


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One window for a person's first day; nothing may be blocked by the security policy or fail in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    window = context.new_page()
    faults: list[str] = []
    # a page that answers 404 on purpose is said on the console as well
    window.on(
        "console",
        lambda message: (
            faults.append(message.text) if message.type == "error" and "404" not in message.text else None
        ),
    )
    window.on("pageerror", lambda error: faults.append(str(error)))
    yield window
    context.close()
    assert faults == []
