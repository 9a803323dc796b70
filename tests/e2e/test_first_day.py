"""A newcomer's first day, in a browser: from the printed link to a report read as a document."""

import gzip
import json
import os
import re
import smtplib
import socket
import ssl
import tempfile
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.e2e.conftest import REPORT_DOMAIN, Platform, until
from tests.fakes.signer import Signer, google_mail, report_json

pytestmark = [pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "docs" / "screenshots"
GOOGLE_MAIL = ROOT.parent / "shared/corpus/tlsrpt/parsedmarc/google.com_smtp_tls_report.eml"
REPORT = report_json()
AUDIT = (Path(__file__).parent / "audit.js").read_text()
# a picture tells nothing of the machine that it was made on
SOMEBODYS = """([folder, host]) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode())
    texts.currentNode.data = texts.currentNode.data
      .replace(new RegExp(folder + "/\\\\S*?/data\\\\b", "g"), "/var/lib/mailward")
      .replace(new RegExp("\\\\b" + host + "\\\\b", "g"), "mail.example.net");
}"""


def look(page: Page, name: str, *, height: int = 0) -> None:
    """The documentation's picture of a page: made where it is missing or asked for. `height`: of its top alone."""
    target = SCREENSHOTS / f"{name}.png"
    if target.exists() and not os.environ.get("MAILWARD_SCREENSHOTS"):
        return
    SCREENSHOTS.mkdir(exist_ok=True)
    page.evaluate(SOMEBODYS, [tempfile.gettempdir(), re.escape(socket.gethostname())])
    page.set_viewport_size({"width": 1280, "height": height or 900})
    page.screenshot(path=target, full_page=not height)
    page.set_viewport_size({"width": 390, "height": height or 844})
    page.screenshot(path=SCREENSHOTS / f"{name}-phone.png", full_page=not height)
    page.set_viewport_size({"width": 1280, "height": 900})


def fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})


def reads_well(page: Page) -> None:
    """In light and dark, on a screen and on a phone: see audit.js for what is looked at."""
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            # transitions would be caught half way
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(AUDIT) == [], (page.url, scheme, width)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


def report_token(page: Page, platform: Platform) -> str:
    page.goto(f"{platform.url}/domains/example.test/setup/")
    found = re.search(rf"mailto:([\w.-]+)@{re.escape(REPORT_DOMAIN)}", page.content())
    assert found, "the set-up page shows the report address"
    return found[1]


def send(platform: Platform, token: str, raw: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", platform.ports["REPORTS_SMTP_PORT"], timeout=20) as client:
        client.sendmail("noreply@google.test", [f"{token}@{REPORT_DOMAIN}"], raw)


def post(platform: Platform, token: str, body: bytes) -> int:
    context = ssl.create_default_context(cafile=str(platform.data / "ca" / "ca.pem"))
    context.check_hostname = False
    request = urllib.request.Request(
        f"https://127.0.0.1:{platform.ports['REPORTS_HTTPS_PORT']}/v1/tlsrpt/{token}",
        data=body,
        headers={"Content-Type": "application/tlsrpt+gzip", "Host": REPORT_DOMAIN},
    )
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return int(answer.status)
    except ssl.SSLError as error:  # pragma: no cover - tells what the door presented
        pytest.fail(f"the HTTPS door's certificate: {error}")


def test_the_printed_link_makes_the_first_administrator(page: Page, platform: Platform) -> None:
    link = platform.start_link()
    page.goto(link)
    look(page, "start")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Organisation").fill("Example Ltd")
    page.get_by_label("Mail address").fill("ada@example.test")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("heading", name="No domain yet")).to_be_visible()
    page.context.clear_cookies()
    page.goto(link)
    expect(page.get_by_label("Password")).to_have_count(0)


def test_one_logs_in_with_the_password(page: Page, platform: Platform) -> None:
    page.goto(platform.url)
    look(page, "login")
    page.get_by_label("Email").or_(page.get_by_label("Mail address")).fill("ada@example.test")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Domains")).to_be_visible()


def test_an_added_domain_serves_a_policy_at_once(page: Page, platform: Platform) -> None:
    platform.dns.set("example.test", "MX", "10 mx.example.test.")
    page.goto(f"{platform.url}/domains/add/")
    page.get_by_label("Domains").fill("example.test")
    page.get_by_role("button", name=re.compile("Add")).click()
    expect(page.get_by_role("heading", name="example.test")).to_be_visible()
    look(page, "domain-setup")
    fits_a_phone(page)
    until(lambda: "mode: testing" in platform.curl("mta-sts.example.test"))
    assert platform.curl("mta-sts.example.test").splitlines()[:3] == [
        "version: STSv1",
        "mode: testing",
        "mx: mx.example.test",
    ]


def test_a_report_by_mail_and_the_same_by_https_are_one(page: Page, platform: Platform) -> None:
    token = report_token(page, platform)
    signer = Signer("google.test")
    signer.publish(platform.dns)
    send(platform, token, signer.sign(google_mail(REPORT, recipient=f"{token}@{REPORT_DOMAIN}")))
    body = gzip.compress(json.dumps(REPORT).encode())
    assert post(platform, token, body) == 200
    page.goto(f"{platform.url}/domains/example.test/?end=2026-11-23")
    expect(page.get_by_text("3 of 103 sessions failed")).to_be_visible()
    expect(page.get_by_role("cell", name="mx.example.test").first).to_be_visible()
    look(page, "domain-overview")
    fits_a_phone(page)
    page.goto(f"{platform.url}/domains/example.test/reports/")
    assert page.locator("main a[href^='/reports/']").count() >= 1
    reports = page.locator("main a[href^='/reports/']").evaluate_all(
        "links => new Set(links.map(a => a.pathname).filter(p => /^.reports.[0-9]+.$/.test(p))).size"
    )
    assert reports == 1
    look(page, "reports")
    fits_a_phone(page)


def test_the_report_reads_as_a_document(page: Page, platform: Platform) -> None:
    page.goto(f"{platform.url}/domains/example.test/reports/")
    path = page.locator("main a[href^='/reports/']").evaluate_all(
        "links => links.map(a => a.pathname).filter(p => /^.reports.[0-9]+.$/.test(p))[0]"
    )
    page.goto(platform.url + path)
    text = page.locator("main").inner_text()
    for words in ("Google Inc.", "example.test", "google.test", "203.0.113.7", "mx.example.test"):
        assert words in text
    look(page, "report")
    fits_a_phone(page)


def test_a_real_mail_about_another_domain_is_foreign(page: Page, platform: Platform) -> None:
    if not GOOGLE_MAIL.exists():
        pytest.skip("the corpus of real mails is not beside this checkout")
    token = report_token(page, platform)
    send(platform, token, GOOGLE_MAIL.read_bytes())
    page.goto(f"{platform.url}/domains/example.test/")
    expect(page.get_by_text("cardinalhealth.ca")).to_have_count(0)
    page.goto(f"{platform.url}/reports/?show=foreign")
    expect(page.get_by_text("cardinalhealth.ca").first).to_be_visible()


def test_a_file_imported_by_hand_counts_for_its_own_domain(
    page: Page, platform: Platform, tmp_path: Path
) -> None:
    page.goto(f"{platform.url}/domains/add/")
    page.get_by_label("Domains").fill("other.test")
    page.get_by_role("button", name=re.compile("Add")).click()
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report_json("other.test", report_id="by-hand", successful=40, failed=0)))
    page.goto(f"{platform.url}/reports/upload/")
    page.locator("input[type=file]").set_input_files(file)
    look(page, "upload")
    page.locator("main button[type=submit]").last.click()
    page.goto(f"{platform.url}/domains/other.test/?end=2026-11-23")
    expect(page.get_by_text("Every session was encrypted")).to_be_visible()


@pytest.mark.parametrize("path", ["/domains/", "/reports/", "/problems/", "/quarantine/", "/people/"])
def test_every_area_fits_a_phone(page: Page, platform: Platform, path: str) -> None:
    page.goto(platform.url + path)
    look(page, path.strip("/"))
    fits_a_phone(page)


PICTURES = {
    "mx": "/domains/example.test/mx/",
    "leave": "/domains/example.test/policy/leave/",
    "readiness": "/domains/example.test/rollout/",
    "rollout": "/rollout/",
    "dns-servers": "/dns-servers/",
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_documentation_has_a_picture_of_the_page(page: Page, platform: Platform, name: str) -> None:
    page.goto(platform.url + PICTURES[name])
    look(page, name)
    fits_a_phone(page)


def test_a_profile_is_changed_in_waves_after_a_look_at_each_effect(page: Page, platform: Platform) -> None:
    page.goto(f"{platform.url}/profiles/new/")
    page.get_by_label("Name").fill("Shared platform")
    page.locator("main button[type=submit]").last.click()
    page.get_by_label("All domains of the organisation").check()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("link", name="other.test")).to_be_visible()
    look(page, "profile")
    page.get_by_label("Ready for so many days").press("Enter")
    expect(page.get_by_text("for those that join")).to_contain_text("off")
    reads_well(page)
    page.get_by_label("max_age").fill("14")
    page.get_by_role("button", name="Look at the effect").click()
    expect(page.get_by_text("Being worked out")).to_have_count(0, timeout=60_000)
    expect(page.get_by_text("max_age 2 weeks")).to_be_visible()
    look(page, "profile-change")
    reads_well(page)


def test_a_list_of_domains_is_looked_at_before_any_is_added(
    page: Page, platform: Platform, tmp_path: Path
) -> None:
    platform.dns.set("new.test", "MX", "10 mx.new.test.")
    page.goto(f"{platform.url}/domains/import/")
    listing = tmp_path / "domains.csv"
    listing.write_text("domain,mode\nnew.test,\nexample.test,\nno domain,\n")
    page.get_by_label("CSV or zone file").set_input_files(listing)
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_text("1 domain would be added.")).to_be_visible(timeout=60_000)
    look(page, "import")
    reads_well(page)
    page.goto(f"{platform.url}/domains/")
    expect(page.get_by_role("link", name="example.test", exact=True)).to_be_visible()
    expect(page.get_by_text("new.test")).to_have_count(0)


def test_whoever_asks_is_told_what_is_wrong_and_what_to_change(page: Page, platform: Platform) -> None:
    """Nobody made the records of these names, and the doctor goes and sees that."""
    page.goto(f"{platform.url}/health/")
    button = page.get_by_role("button", name="Look now")
    until(lambda: button.count() or page.reload() is None)  # it comes with the worker
    button.click()
    expect(page.get_by_text(", looked at")).to_be_visible(timeout=120_000)
    expect(page.locator("details[open]").get_by_text("What to change").first).to_be_visible()
    expect(page.get_by_text(REPORT_DOMAIN).first).to_be_visible()
    look(page, "health", height=1120)
    reads_well(page)


PATHS = [
    "/domains/",
    "/domains/add/",
    "/domains/example.test/?end=2026-11-23",
    "/domains/example.test/setup/",
    "/domains/example.test/policy/",
    "/domains/example.test/policy/edit/",
    "/domains/example.test/policy/history/",
    "/domains/example.test/events/",
    "/domains/example.test/mx/",
    "/domains/example.test/policy/leave/",
    "/domains/example.test/policy/move/",
    "/domains/example.test/policy/take-over/",
    "/domains/example.test/reports/",
    "/domains/example.test/remove/",
    "/domains/example.test/rollout/",
    "/domains/records/",
    "/domains/import/",
    "/dns-servers/",
    "/profiles/",
    "/profiles/new/",
    "/rollout/",
    "/health/",
    "/reports/",
    "/reports/?show=not-counted",
    "/reports/?show=foreign",
    "/reports/upload/",
    "/problems/",
    "/quarantine/",
    "/people/",
    "/account/password/",
    "/nowhere/",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_page_reads_well(page: Page, platform: Platform, path: str) -> None:
    page.goto(platform.url + path)
    reads_well(page)


def test_a_report_reads_well_and_so_does_the_review_of_a_policy(page: Page, platform: Platform) -> None:
    page.goto(f"{platform.url}/domains/example.test/reports/")
    page.locator("main a.row-link").first.click()
    expect(page.get_by_role("heading", name="The original")).to_be_visible()
    reads_well(page)
    page.goto(f"{platform.url}/domains/example.test/policy/edit/")
    page.get_by_label("Enforce").check()
    page.get_by_role("button", name="Look at the change").click()
    expect(page.get_by_role("button", name="Publish")).to_be_visible()
    reads_well(page)
