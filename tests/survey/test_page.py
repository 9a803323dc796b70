"""The summary: what rows add up to, on a page that is safe and readable."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from mailward.core.survey.columns import AT, COLUMNS, Row
from mailward.core.survey.totals import MAX_PROVIDERS, Totals
from mailward.survey.page import Origin, render_summary

AUDIT = (Path(__file__).parents[1] / "e2e" / "audit.js").read_text()
ORIGIN = Origin(
    "=<script>alert(1)</script>.csv", datetime(2026, 11, 1, tzinfo=UTC), 9, 1, 2, 0, True, True, "1.0"
)
HOSTILE = "<img/src=x>.test"


def row(**cells: object) -> Row:
    made: list[object] = [None] * len(COLUMNS)
    common = {
        "status": "ok",
        "mx_status": "found",
        "dnssec_validated": True,
        "dane": "none",
        "starttls": "all",
        "policy_status": "not-asked",
        "verdict_mta_sts": "unprotected",
        "verdict_postfix": "unprotected",
        "verdict_dane": "unprotected",
        "verdict_opportunistic": "delivers",
    }
    for name, value in (common | cells).items():
        made[AT[name]] = value
    return tuple(made)  # type: ignore[arg-type]  # of the columns' types


POLICY = {"sts_records": '["v=STSv1; id=1"]', "sts_id": "1", "policy_status": "ok", "policy_max_age": 86_400}
ROWS = (
    row(providers="example.com"),
    row(**POLICY, policy_mode="enforce", providers=f"example.com {HOSTILE}"),
    row(**POLICY, policy_mode="enforce", codes="mx-not-in-policy", classes="mx-not-in-policy", dane="all"),
    row(**POLICY | {"policy_status": "redirect"}, codes="policy-redirected", classes="policy-http"),
    row(mx_null=True, verdict_opportunistic="no-mail"),
    row(mx_status="nxdomain", verdict_opportunistic="no-mail", codes="mx-nowhere", classes="mx"),
    row(mx_status="failed", verdict_opportunistic="unknown", codes="mx-lookup-failed", classes="mx"),
    row(status="error", error="not done"),
)


def add(*rows: Row) -> Totals:
    totals = Totals()
    for each in rows:
        totals.add(each)
    return totals


def test_rows_add_up() -> None:
    totals = add(*ROWS)
    counts = totals.domains, totals.mail, totals.null_mx, totals.nowhere, totals.lookup_failed, totals.errors
    assert counts == (8, 4, 1, 1, 1, 1)
    assert (totals.sts_meant, totals.sts_usable, totals.sts_faulty, totals.sts_refusing) == (3, 2, 2, 1)
    assert (totals.modes["enforce"], totals.ages["less than a week"], totals.dane["all"]) == (2, 2, 1)
    assert totals.providers == {"example.com": 2, HOSTILE: 1}


def test_providers_are_bounded_and_large_ones_stay() -> None:
    totals = add(*(row(providers=f"p{number}.test big.test") for number in range(MAX_PROVIDERS + 10)))
    assert len(totals.providers) < MAX_PROVIDERS
    assert totals.providers["big.test"] == MAX_PROVIDERS + 10


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.add(tag)


def test_nothing_that_strangers_wrote_is_markup() -> None:
    page = render_summary(add(*ROWS), ORIGIN)
    tags = _Tags()
    tags.feed(page)
    assert not tags.found & {"script", "img", "link", "iframe", "object"}
    assert "&lt;img/src=x&gt;.test" in page
    assert "default-src 'none'" in page


@pytest.mark.parametrize("rows", [ROWS, ()])
def test_the_page_can_be_read_in_a_browser(rows: tuple[Row, ...], tmp_path: Path) -> None:
    file = tmp_path / "summary.html"
    file.write_text(render_summary(add(*rows), ORIGIN), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        for width, scheme in ((1280, "light"), (390, "dark"), (390, "light")):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(file.as_uri())
            assert page.evaluate(AUDIT) == []
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
