"""From a report at the door to a mail in somebody's hands, through every process of a real `mailward serve`.

DNS does not answer when the report comes, and the relay does not let us in: both must be waited out.
"""

import contextlib
import email
import email.policy
import http.cookiejar
import re
import smtplib
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import REPORT_DOMAIN, Platform, until
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.relay import FakeRelay
from tests.fakes.signer import Signer, google_mail, report_json

from mailward.net import clock

pytestmark = [pytest.mark.timeout(180)]

ADA = "ada@example.test"
PASSWORD = "correct horse battery"
TOKEN = "dom-example"
SIGNERS = {name: Signer(name) for name in ("google.test", "microsoft.test")}
MAKE_ADA = f"""
import django; django.setup()
from mailward.store.models import *
o = Organisation.objects.create(name="Example Ltd", report_token="org-example")
Domain.objects.create(organisation=o, name="example.test", report_token="{TOKEN}", claim_token="c")
u = User.objects.create_user("{ADA}", "{PASSWORD}", name="Ada")
Membership.objects.create(organisation=o, user=u, role=Role.OWNER)
"""


@dataclass
class House:
    platform: Platform
    dns: FakeDns
    relay: FakeRelay

    def rows(self, query: str, *values: object) -> list[Any]:
        path = self.platform.data / "mailward.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as database, database:
            return database.execute(query, values).fetchall()

    def send(self, reporter: str) -> None:
        report = report_json(
            day=str(clock.now().date()), contact=f"tls@{reporter}", organization=reporter, failed=2
        )
        raw = SIGNERS[reporter].sign(google_mail(report, sender_domain=reporter))
        with smtplib.SMTP("127.0.0.1", self.platform.ports["REPORTS_SMTP_PORT"], timeout=20) as client:
            client.sendmail(f"tls@{reporter}", [f"{TOKEN}@{REPORT_DOMAIN}"], raw)

    def trusts(self) -> dict[str, tuple[str, int]]:
        return {
            row[0]: row[1:] for row in self.rows("SELECT organization_name, trust, counted FROM store_report")
        }

    def let_a_minute_pass(self, kind: str) -> None:
        """What waits for another attempt is due now."""
        self.rows(
            "UPDATE store_outboxitem SET available_at = '2026-01-01'"
            " WHERE kind = ? AND claimed_until IS NULL",
            kind,
        )

    def mails(self) -> list[tuple[str, str]]:
        messages = [
            email.message_from_bytes(mail.content, policy=email.policy.default) for mail in self.relay.mails
        ]
        return [(str(message["To"]), str(message["Subject"])) for message in messages]


class Browser:
    """Enough of one to sign in and press a button."""

    def __init__(self, url: str) -> None:
        self._url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def page(self, path: str, **fields: str) -> str:
        data = urllib.parse.urlencode(fields).encode() if fields else None
        with self._opener.open(self._url + path, data, timeout=20) as answer:
            return str(answer.read().decode())

    def press(self, path: str, on: str, **fields: str) -> str:
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.page(on))
        assert found
        return self.page(path, csrfmiddlewaretoken=found[1], **fields)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("report-to-mail")
    authority = Authority(folder)
    (folder / "password").write_text("sesame\n")
    dns, relay = FakeDns(), FakeRelay(tls=authority.issue("localhost"), password="changed yesterday")
    with dns.threaded(), relay:
        settings = {
            "MAILWARD_RELAY_HOST": "localhost",
            "MAILWARD_RELAY_PORT": str(relay.port),
            "MAILWARD_RELAY_USERNAME": "mailward",
            "MAILWARD_RELAY_PASSWORD_FILE": str(folder / "password"),
            "MAILWARD_RELAY_SENDER": "Mailward <mailward@example.net>",
            "MAILWARD_PROBLEMS_SETTLE_MINUTES": "0",
            "SSL_CERT_FILE": str(authority.file),
        }
        with Platform(folder / "data", dns, settings=settings).serving() as platform:
            environment = platform.environment | {"DJANGO_SETTINGS_MODULE": "mailward.web.settings"}
            subprocess.run([sys.executable, "-c", MAKE_ADA], env=environment, check=True, timeout=60)
            yield House(platform, dns, relay)


@pytest.fixture(scope="module")
def browser(house: House) -> Browser:
    browser = Browser(house.platform.url)
    browser.press("/login/", on="/login/", login=ADA, password=PASSWORD)
    return browser


def test_a_report_waits_for_dns_and_is_asked_about_again(house: House) -> None:
    for signer in SIGNERS.values():
        signer.publish(house.dns)
    late = SIGNERS["microsoft.test"].key_name
    house.dns.fail(Fault.SERVFAIL, late)
    for reporter in SIGNERS:
        house.send(reporter)
    assert house.trusts() == {"google.test": ("verified", 1), "microsoft.test": ("pending", 0)}
    asked = len([query for query in house.dns.queries if query.name == late])
    house.let_a_minute_pass("verify")
    until(lambda: len([query for query in house.dns.queries if query.name == late]) > asked)
    assert house.trusts()["microsoft.test"] == ("pending", 0)
    assert house.rows("SELECT count(*) FROM store_problem") == [(0,)], "two failed sessions, one reporter"


def test_once_dns_answers_it_is_counted_and_the_problem_opens(house: House) -> None:
    house.dns.heal()

    def is_verified() -> bool:
        # an attempt that is still under way asks for another minute when it ends
        house.let_a_minute_pass("verify")
        return house.trusts()["microsoft.test"] == ("verified", 1)

    until(is_verified)
    counted = house.rows("SELECT reporter, ok, failed, reports FROM store_dailysessions ORDER BY reporter")
    assert counted == [("google.test", 100, 2, 1), ("microsoft.test", 100, 2, 1)]
    until(lambda: house.rows("SELECT 1 FROM store_problem"))
    assert house.rows("SELECT result_type, host, reporters FROM store_problem") == [
        ("certificate-host-mismatch", "mx.example.test", 2)
    ]


def test_while_the_relay_refuses_us_every_page_says_so(house: House, browser: Browser) -> None:
    until(lambda: house.rows("SELECT error FROM store_notification WHERE error LIKE '%535%'"))
    assert house.relay.mails == []
    for path in ("/domains/", "/problems/"):
        page = browser.page(path)
        assert "No mail relay works." in page
        assert "the relay refused the user name or password: 535" in page


def test_the_button_says_why_no_mail_went_out(house: House, browser: Browser) -> None:
    page = browser.press("/people/test-mail/", on="/people/")
    assert "The test mail could not be sent: the relay refused the user name or password" in page


def test_once_the_relay_lets_us_in_a_button_sends_one_and_what_waited_follows(
    house: House, browser: Browser
) -> None:
    house.relay.password = "sesame"
    page = browser.press("/people/test-mail/", on="/people/")
    assert f"The relay took a test mail for {ADA}." in page
    assert "No mail relay works." not in page

    def are_sent() -> bool:
        # an attempt that was under way when the password was mended waits for another minute
        house.let_a_minute_pass("mail")
        return len(house.relay.mails) == 2

    until(are_sent)
    assert house.mails() == [
        (ADA, "Mailward: test mail"),
        (ADA, "Mailward: certificate for another name on mx.example.test (1 domain)"),
    ]
    until(lambda: house.rows("SELECT 1 FROM store_notification WHERE sent_at IS NOT NULL AND error = ''"))
    # what was sent is noted first, and what asked for it is taken away a moment later
    until(lambda: not house.rows("SELECT 1 FROM store_outboxitem WHERE kind IN ('mail', 'notify', 'verify')"))
