"""A whole `mailward serve` with its numbers, and what its users do to it."""

import base64
import json
import re
import smtplib
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.cli.test_serve import HOST_A_POLICY, POLICY, Platform, until
from tests.fakes.ports import free_port

ZONE = "sts.example.test"
TOKEN = "r5q9zk2wx7pd"
"""Of the reports' address of the domain."""
TSIG_SECRET = base64.b64encode(b"a secret of thirty-two octets...").decode()


@dataclass
class Observed(Platform):
    """With a nameserver and an endpoint of numbers."""

    extra: dict[str, str] = field(default_factory=dict)
    metrics_port: int = field(default_factory=free_port)
    dns_port: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "MAILWARD_METRICS_LISTEN": f"127.0.0.1:{self.metrics_port}",
            "MAILWARD_NAMESERVER_ZONE": ZONE,
            "MAILWARD_NAMESERVER_PORT": str(self.dns_port),
            "MAILWARD_NAMESERVER_SERVERS": f"ns1.{ZONE}=192.0.2.53",
            "MAILWARD_REPORTS_DOMAIN": "reports.example.test",
            "MAILWARD_WATCH_ENABLED": "false",
            "MAILWARD_NAMESERVER_TRANSFER_KEYS": f"ns2:hmac-sha256:{TSIG_SECRET}",
            "MAILWARD_LOG_LEVEL": "debug",
        }
        return super().environment | own | self.extra

    def start(self) -> None:
        with self.data.with_suffix(".log").open("ab") as output:
            command = [sys.executable, "-m", "mailward", "serve"]
            self.process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
        until(lambda: self.health("/healthz")[0] == 200, seconds=200)

    def host_a_policy(self) -> None:
        self.run_in_django(HOST_A_POLICY.replace('"t"', f'"{TOKEN}"') % POLICY)

    def run_in_django(self, code: str) -> str:
        environment = self.environment | {"DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
        words = [sys.executable, "-c", code]
        return subprocess.run(
            words, env=environment, check=True, timeout=200, capture_output=True, text=True
        ).stdout

    def get(self, path: str, port: int | None = None) -> tuple[int, bytes]:
        url = f"http://127.0.0.1:{port or self.metrics_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def scrape(self) -> dict[str, Metric]:
        """By name, as another reader of the format understands them."""
        status, page = self.get("/metrics")
        assert status == 200
        return {metric_name(each): each for each in text_string_to_metric_families(page.decode())}

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples with these labels."""
        found = self.scrape()
        family = found.get(name) or found[re.sub("_(bucket|sum|count)$", "", name)]
        return sum(
            each.value
            for each in family.samples
            if each.name == name and labels.items() <= each.labels.items()
        )

    def health(self, path: str) -> tuple[int, dict[str, Any]]:
        status, body = self.get(path)
        return status, json.loads(body) if body else {}

    def post_report(self, report: bytes, token: str = TOKEN) -> int:
        context = ssl.create_default_context(cafile=str(self.data / "ca" / "ca.pem"))
        context.check_hostname = False  # the certificate is for the name, and this connects by address
        url = f"https://127.0.0.1:{self.ports['REPORTS_HTTPS_PORT']}/v1/tlsrpt/{token}"
        headers = {"Content-Type": "application/tlsrpt+json", "Host": "reports.example.test"}
        asking = urllib.request.Request(url, report, headers)
        try:
            with urllib.request.urlopen(asking, timeout=20, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def mail_report(self, message: bytes, token: str = TOKEN) -> dict[str, tuple[int, bytes]]:
        """Whom it was refused for."""
        with smtplib.SMTP("127.0.0.1", self.ports["REPORTS_SMTP_PORT"], timeout=20) as session:
            return session.sendmail("tlsrpt@mta.example.net", [f"{token}@reports.example.test"], message)

    def ask_dns(self, query: bytes) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(5)
            asking.sendto(query, ("127.0.0.1", self.dns_port))
            return asking.recv(4096)


def metric_name(metric: Metric) -> str:
    # the parser takes the suffix off, as OpenMetrics has it
    return f"{metric.name}_total" if metric.type == "counter" else metric.name
