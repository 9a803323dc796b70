"""The provider's own names: the report doors show certificates that were ordered, and nobody did anything for it."""

import subprocess
import time

import pytest
from tests.e2e.certificates.site import PLATFORM, SERVICE_ZONE, Provider, running_provider, wait_until
from tests.fakes.signer import report_json
from tests.ingest.conftest import json_body

from mailward.core.acme.challenge import own_label
from mailward.lab.network import address

pytestmark = pytest.mark.timeout(300)


def inside(provider: Provider, *command: str, text: bytes = b"") -> str:
    done = subprocess.run(
        [*provider.network.inside("client"), *command], input=text, capture_output=True, check=False
    )
    return (done.stdout + done.stderr).decode()


def post(provider: Provider, token: str) -> str:
    """The status of a report that is posted by somebody who checks the certificate; 000 where it does not hold."""
    url = f"https://reports.provider.test:8444/v1/tlsrpt/{token}"
    command = [
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--max-time",
        "5",
        "--data-binary",
        "@-",
    ]
    trust = ["--cacert", str(provider.folder / "roots.pem"), "-H", "Content-Type: application/tlsrpt+json"]
    return inside(provider, *command, *trust, url, text=json_body(report_json()))[:3]


def peer(provider: Provider, host: str) -> str:
    """What is said of the certificate that the policy host shows for a name."""
    connect = ["openssl", "s_client", "-connect", f"{address(PLATFORM)}:443", "-servername", host]
    checked = ["-verify_hostname", host, "-CAfile", str(provider.folder / "roots.pem")]
    return inside(provider, *connect, *checked)


def starttls(provider: Provider) -> str:
    roots = str(provider.folder / "roots.pem")
    return inside(
        provider, "openssl", "s_client", "-starttls", "smtp", "-connect", f"{address(PLATFORM)}:25",
        "-servername", "reports.provider.test", "-verify_hostname", "reports.provider.test", "-CAfile", roots,
        text=b"QUIT\r\n",
    )  # fmt: skip


def test_report_doors_show_certificates_that_were_ordered_and_survive_a_restart() -> None:
    with running_provider(["customer.test"], orders_own=True) as provider:
        provider.add(["customer.test"])
        token = provider.rows("SELECT report_token FROM store_domain")[0][0]
        begun = time.monotonic()
        wait_until(lambda: post(provider, token) == "201", 60)
        print(f"\nthe first report by HTTPS {time.monotonic() - begun:.1f} s later")  # noqa: T201 - a figure
        wait_until(lambda: "Verified peername: reports.provider.test" in starttls(provider), 10)
        hosts = {
            row[0] for row in provider.rows("SELECT host FROM store_certificate WHERE domain_id IS NULL")
        }
        assert hosts == {"policies.provider.test", "reports.provider.test"}
        assert provider.pebble.log.count("POST /order-plz") == 2
        provider.serve.stop()
        provider.start()
        wait_until(lambda: post(provider, token) == "200", 20)
        assert "Verified peername: reports.provider.test" in starttls(provider)
        assert provider.pebble.log.count("POST /order-plz") == 2


@pytest.mark.long
def test_own_names_are_proved_through_our_nameserver_where_port_80_leads_nowhere() -> None:
    names = ("policies", "reports")
    labels = {name: own_label(f"{name}.provider.test") for name in names}
    own = [f"_acme-challenge.{name} CNAME _acme-challenge.{labels[name]}.{SERVICE_ZONE}." for name in names]
    # nobody but this machine reaches its port 80
    closed = 'http_listen = "127.0.0.1"'
    with running_provider(["customer.test"], orders_own=True, acme=closed, own=own) as provider:
        begun = time.monotonic()
        wait_until(lambda: "Verified peername: reports.provider.test" in starttls(provider), 60)
        print(f"\nSTARTTLS by a certificate {time.monotonic() - begun:.1f} s later")  # noqa: T201 - a figure
        orders = provider.rows("SELECT host, method, error FROM store_acmeorder ORDER BY host")
        assert orders == [(f"{name}.provider.test", "dns-01", "") for name in names]
        # nothing of it is left in the zone
        label = f"_acme-challenge.{labels['reports']}.{SERVICE_ZONE}"
        wait_until(lambda: provider.txt(label) == "", 10)


@pytest.mark.long
def test_an_own_name_in_our_own_zone_is_proved_there_and_nobody_publishes_anything() -> None:
    host = f"policies.{SERVICE_ZONE}"
    closed = 'http_listen = "127.0.0.1"'
    with running_provider([], orders_own=True, acme=closed, public_name=host) as provider:
        begun = time.monotonic()
        wait_until(lambda: f"Verified peername: {host}" in peer(provider, host), 60)
        print(f"\na certificate for it {time.monotonic() - begun:.1f} s later")  # noqa: T201 - a figure
        orders = provider.rows("SELECT host, method, error FROM store_acmeorder")
        assert (host, "dns-01", "") in orders
        wait_until(lambda: provider.txt(f"_acme-challenge.{host}") == "", 10)
