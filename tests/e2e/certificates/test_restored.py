"""The provider's machine is lost; on an empty one a backup goes on: it answers, receives, and renews."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.e2e.certificates.site import DATABASE, PLATFORM, Provider, running_provider, wait_until
from tests.postgresql import Server

from mailward.lab import program
from mailward.lab.network import address

pytestmark = pytest.mark.timeout(900)

ISSUED = "SELECT COUNT(*) FROM store_certificate"
ACCOUNTS = "SELECT url FROM store_acmeaccount"
_MAIL = """
import smtplib, sys
from tests.fakes.signer import google_mail, report_json
with smtplib.SMTP(sys.argv[1], 25, timeout=30) as client:
    mail = google_mail(report_json(report_id="after the restore"))
    assert client.sendmail("noreply@google.test", [sys.argv[2] + "@reports.provider.test"], mail) == {}
"""
_SERIAL = """
import dns.message, dns.query, sys
answer = dns.query.udp(dns.message.make_query("sts.provider.test", "SOA"), sys.argv[1], timeout=10)
print(answer.answer[0][0].serial)
"""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "READY_SECONDS", 400)


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server | None]:
    if request.param == "sqlite":
        yield None
        return
    server = Server()
    yield server
    server.remove()


def test_a_restored_provider_goes_on_renewing_receiving_and_answering(server: Server | None) -> None:
    with running_provider(["customer.test"], server=server) as provider:
        provider.publish(provider.add(["customer.test"]), "customer.test.")
        wait_until(lambda: provider.fetch("customer.test"), 300)
        wait_until(lambda: "v=STSv1; id=" in provider.txt("_mta-sts.customer.test"), 300)
        policy, told = provider.fetch("customer.test"), provider.txt("_mta-sts.customer.test")
        account, [(token,)] = provider.rows(ACCOUNTS), provider.rows("SELECT report_token FROM store_domain")

        mailward(provider, "backup", str(provider.folder / "backup"))
        # what secondaries see of the zone after the backup
        seen = serial(provider)
        provider.add(["later.customer.test"])
        wait_until(lambda: serial(provider) > seen, 60)
        seen = serial(provider)

        provider.serve.stop()
        shutil.rmtree(provider.folder / "data")
        if server is not None:
            server.sql(f"DROP DATABASE {DATABASE}")
            server.create(DATABASE)
        mailward(provider, "restore", str(provider.folder / "backup"))
        provider.start()

        wait_until(lambda: provider.fetch("customer.test"), 60)
        assert provider.fetch("customer.test") == policy
        wait_until(lambda: provider.txt("_mta-sts.customer.test"), 60)
        assert provider.txt("_mta-sts.customer.test") == told
        assert serial(provider) > seen
        inside(provider, _MAIL, address(PLATFORM), token)
        assert provider.rows("SELECT report_id FROM store_report") == [("after the restore",)]
        before = provider.rows(ISSUED)[0][0]
        past = "datetime('now', '-1 minute')" if server is None else "now() - interval '1 minute'"
        provider.write(f"UPDATE store_certificatecare SET renew_at = {past}, due_at = {past}")
        wait_until(lambda: provider.rows(ISSUED)[0][0] == before + 1, 200)
        assert provider.rows(ACCOUNTS) == account
        assert "Traceback" not in provider.serve.said()


def serial(provider: Provider) -> int:
    return int(inside(provider, _SERIAL, address(PLATFORM)))


def inside(provider: Provider, code: str, *arguments: str) -> str:
    """Python on the client's host."""
    command = [*provider.network.inside("client"), sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def mailward(provider: Provider, *command: str) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAILWARD", "DJANGO"))}
    done = subprocess.run(
        [sys.executable, "-m", "mailward", *command],
        capture_output=True,
        text=True,
        check=False,
        env=kept | provider.environment,
    )
    assert not done.returncode, done.stderr
