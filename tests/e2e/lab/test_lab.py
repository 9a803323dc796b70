"""`mailward lab` as a person runs it: real servers, real attacks, and the table that comes out."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[3]
SCREENSHOTS = ROOT / "docs" / "screenshots"
AUDIT = (ROOT / "tests" / "e2e" / "audit.js").read_text()
DOCUMENT = ROOT / "docs" / "lab.md"
SOME = ("starttls-stripped", "mitm-self-signed", "mx-forged", "policy-blocked-first", "record-removed-later")


@dataclass
class Run:
    text: str
    page: Path
    json: dict[str, Any]  # as in telling.as_json
    capture: Path


def run_lab(folder: Path, *words: str) -> Run:
    page, json, kept = folder / "lab.html", folder / "lab.json", folder / "kept"
    options = ["--html", str(page), "--json", str(json), "--keep", str(kept), *words]
    command = [sys.executable, "-m", "mailward", "lab", *options]
    environment = os.environ | {"COLUMNS": "1000"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    return Run(done.stdout, page, msgspec.json.decode(json.read_bytes()), kept / "sender.pcap")


@pytest.fixture(scope="module")
def some(root: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    words = [word for name in SOME for word in ("--scenario", name)]
    return run_lab(tmp_path_factory.mktemp("lab"), "--steps", *words)


def test_some_attacks_end_as_they_should(some: Run) -> None:
    assert some.json["differences"] == []
    assert f"All {4 * len(SOME)} results are as expected." in some.text


def test_the_story_names_what_each_party_saw(some: Run) -> None:
    for words in (
        "deletes STARTTLS from the receiver's capabilities",
        "<- anybody on the path can read this",
        "TLS is required, but was not offered",
        "forges the answer to mx-forged-unprotected.test MX: 10 mx-forged-unprotected.evil.test.",
        "HTTPS mta-sts.policy-blocked-first-enforce.test: cannot be reached",
        "When it is over, the same message is delivered, encrypted.",
    ):
        assert words in some.text, words


def test_the_owner_hears_of_the_attack_the_next_day(some: Run) -> None:
    results = {each["domain"]: each for each in some.json["results"]}
    for protection, policy_type in (
        ("unprotected", "no-policy-found"),
        ("testing", "sts"),
        ("enforce", "sts"),
        ("dane", "tlsa"),
    ):
        domain = f"starttls-stripped-{protection}.test"
        [report] = results[domain]["reports"]
        assert (report["trust"], report["policy_type"]) == ("verified", policy_type)
        assert results[domain]["problems"] == [f"starttls-not-supported at mx.{domain}"]


def test_the_packets_are_kept_for_whoever_wants_to_look(some: Run) -> None:
    assert b"The account number is " in some.capture.read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_reads_well(some: Run, browser: Browser, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]  # one of two words
    page = context.new_page()
    page.goto(some.page.as_uri())
    assert page.evaluate(AUDIT) == []
    page.locator("details").evaluate_all("each => each.forEach(one => one.open = true)")
    assert page.evaluate(AUDIT) == []
    context.close()


@pytest.mark.long
@pytest.mark.parametrize("postfix", ["3.10", "3.7"])
def test_every_attack_ends_as_it_should(root: None, tmp_path: Path, browser: Browser, postfix: str) -> None:
    run = run_lab(tmp_path, "--postfix", postfix)
    assert run.json["differences"] == []
    if postfix == "3.10":
        _look(browser, run.page)
        _documented(str(run.json["table"]))


def _documented(table: str) -> None:
    """The documentation has the table as it came out, word for word; written anew where that is asked for."""
    before, _, rest = DOCUMENT.read_text().partition("<!-- table -->\n")
    found, mark, after = rest.partition("<!-- /table -->")
    if os.environ.get("MAILWARD_SCREENSHOTS"):
        DOCUMENT.write_text(f"{before}<!-- table -->\n{table}{mark}{after}")
    else:
        assert found == table, "run this test again with MAILWARD_SCREENSHOTS=1"


def _look(browser: Browser, file: Path) -> None:
    """The documentation's picture: made where it is missing or asked for."""
    for width, name in ((1280, "lab"), (390, "lab-phone")):
        target = SCREENSHOTS / f"{name}.png"
        if target.exists() and not os.environ.get("MAILWARD_SCREENSHOTS"):
            continue
        page = browser.new_page(viewport={"width": width, "height": 1400})
        page.goto(file.as_uri())
        page.screenshot(path=target)
        page.close()
