"""The pages about checks in a browser: a domain that is looked at, breaks, is compared; and one that is typed in."""

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.e2e.conftest import Platform
from tests.e2e.test_first_day import look, reads_well
from tests.e2e.test_report_to_mail import ADA, MAKE_ADA, PASSWORD
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns
from tests.fakes.mailserver import FakeMailServer
from tests.prepared import prepare

pytestmark = [pytest.mark.timeout(240)]

MX = "mx.example.test"
WAIT = 60_000  # milliseconds: the worker looks into its queue each second, and the page every four


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[FakeMailServer]:
    made = FakeMailServer(authority.issue(MX))
    with made.running():
        yield made


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, server: FakeMailServer
) -> Iterator[Platform]:
    folder: Path = tmp_path_factory.mktemp("checks")
    dns = FakeDns()
    for name in ("example.test", "neighbour.test"):
        dns.set(name, "MX", f"10 {MX}.")
    dns.set(MX, "A", "127.0.0.1")
    dns.set(MX, "AAAA", "::1")  # nobody listens there
    settings = {
        "MAILWARD_WATCH_SMTP_PORT": str(server.port),
        "MAILWARD_WATCH_CA_FILE": str(authority.file),
        "MAILWARD_WATCH_ENABLED": "false",
    }
    with dns.threaded(), Platform(prepare(folder / "data"), dns, settings=settings).serving() as platform:
        environment = platform.environment | {"DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
        subprocess.run([sys.executable, "-c", MAKE_ADA], env=environment, check=True, timeout=60)
        yield platform


def forget_the_last_question(platform: Platform) -> None:
    """As if two minutes had passed."""
    with (
        contextlib.closing(sqlite3.connect(platform.data / "mailward.sqlite3", timeout=10)) as database,
        database,
    ):
        database.execute("UPDATE store_watch SET asked_at = NULL")


def prove(platform: Platform) -> None:
    """As if the record of the claim had been seen."""
    with (
        contextlib.closing(sqlite3.connect(platform.data / "mailward.sqlite3", timeout=10)) as database,
        database,
    ):
        database.execute("UPDATE store_domain SET claim_verified_at = datetime('now')")


def test_a_person_asks_for_a_check_and_the_page_shows_it_when_it_is_there(
    page: Page, platform: Platform
) -> None:
    page.goto(f"{platform.url}/login/")
    page.get_by_label("Email").or_(page.get_by_label("Mail address")).fill(ADA)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Domains")).to_be_visible()
    page.goto(f"{platform.url}/domains/example.test/checks/")
    reads_well(page)
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("Senders that enforce MTA-STS deliver to you without protection")).to_be_visible(
        timeout=WAIT
    )
    expect(page.get_by_role("heading", name="_mta-sts.example.test")).to_be_visible()
    expect(page.get_by_role("heading", name="MX host refuses connections")).to_be_visible()
    reads_well(page)


def test_what_breaks_is_in_the_history_and_can_be_compared(
    page: Page, platform: Platform, server: FakeMailServer
) -> None:
    platform.dns.set("_mta-sts.example.test", "TXT", "v=STSv1; id=1;")
    forget_the_last_question(platform)
    page.goto(f"{platform.url}/domains/example.test/checks/")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_text("2 states.")).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("MTA-STS record: + v=STSv1; id=1;")).to_be_visible()
    reads_well(page)
    look(page, "checks")
    page.get_by_role("button", name="Show the difference").click()
    expect(page.get_by_role("heading", name="What changed")).to_be_visible()
    expect(page.get_by_text("+ _mta-sts.example.test TXT v=STSv1; id=1;")).to_be_visible()
    reads_well(page)


def test_a_deep_look_at_a_proved_domain_lists_what_is_accepted(page: Page, platform: Platform) -> None:
    page.goto(f"{platform.url}/domains/example.test/checks/")
    expect(page.get_by_role("link", name="proved that the domain is yours")).to_be_visible()
    expect(page.get_by_role("button", name="Look deeply")).to_have_count(0)
    forget_the_last_question(platform)
    prove(platform)
    page.reload()
    page.get_by_role("button", name="Look deeply").click()
    expect(page.get_by_role("heading", name="TLS versions and cipher suites")).to_be_visible(timeout=2 * WAIT)
    expect(page.get_by_text("TLS_AES_256_GCM_SHA384", exact=True)).to_be_visible()
    expect(page.get_by_text("is forgotten, as it should be")).to_be_visible()
    expect(page.get_by_text(f"{ADA} asked for a deep look on")).to_be_visible()
    expect(page.get_by_role("button", name="Look deeply")).to_be_disabled()
    reads_well(page)
    look(page, "deep-look")


def test_any_domain_may_be_typed_in(page: Page, platform: Platform, server: FakeMailServer) -> None:
    before = len(server.commands)
    page.goto(f"{platform.url}/check/")
    reads_well(page)
    page.get_by_label("Domain").fill("Neighbour.test")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("heading", name="Findings")).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("heading", name="neighbour.test", exact=True)).to_be_visible()
    reads_well(page)
    assert len(server.commands) == before, "what the MX host showed minutes ago will do"
