"""The documentation site, built as `make docs` builds it: complete, of a piece, and read without a network."""

import functools
import http.server
import re
import subprocess
import threading
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

ROOT = Path(__file__).parents[2]
BUILDER = ROOT / ".venv-docs" / "bin" / "sphinx-build"
# what a browser fetches by itself, of each element; a link that a person follows is none
LOADED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "object": "data",
    "embed": "src",
    "form": "action",
}
WIDE = ("index", "settings", "commands", "check-compared", "architecture")
pytestmark = pytest.mark.timeout(240)


def build(target: Path, *options: str, source: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [str(BUILDER), "--quiet", "--fail-on-warning", "--keep-going", "-c", str(source / "docs/site")]
    command += [*options, str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(target / "html", "-d", str(target / "trees"))
    assert done.returncode == 0, done.stderr
    return target / "html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        pass


class Loads(HTMLParser):
    """The addresses that a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name == LOADED.get(tag)]
        self.found += [part for name, value in attrs if name == "srcset" for part in (value or "").split()]


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(ROOT).with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    pages |= {Path("CHANGELOG.html"), Path("CONTRIBUTING.html")}
    assert sorted(str(page) for page in pages if not (site / page).exists()) == []


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        loads = Loads()
        loads.feed(page.read_text())
        assert [each for each in loads.found if re.match(r"(?i)(\w+:)?//", each)] == [], page
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]*|@import[^;]*//[^;]*", sheet.read_text()) == [], (
            sheet
        )


def test_a_browser_asks_nobody_else(address: str, browser: Browser) -> None:
    """Scripts may load what no page says: so the real pages, and a search."""
    asked: list[str] = []
    with browser.new_context() as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_url("**/docs/index.html")
        page.goto(f"{address}/docs/check-codes.html")
        page.goto(f"{address}/search.html?q=max_age")
        expect(page.locator("#search-results li").first).to_be_visible()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def test_the_site_is_read_without_scripts(address: str, browser: Browser) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{address}/docs/index.html")
        page.get_by_role("complementary").get_by_role("link", name="Every setting").click()
        expect(page.get_by_role("heading", name="Settings", exact=False).first).to_be_visible()


def test_the_page_that_is_open_is_seen_in_the_side_bar(address: str, browser: Browser) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{address}/docs/metrics.html")
        expect(page.get_by_role("complementary").get_by_role("link", name="Every metric")).to_be_in_viewport()
        assert page.evaluate("window.scrollY") == 0


def too_wide(browser: Browser, address: str, pages: Iterable[str], width: int) -> list[str]:
    with browser.new_context(viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        found = []
        for each in pages:
            page.goto(f"{address}/{each}", wait_until="domcontentloaded")
            reached = page.evaluate("document.documentElement.scrollWidth")
            found += [f"{each}: {reached}"] if reached > width else []
    return found


def test_wide_tables_and_lines_move_by_themselves_on_a_phone(address: str, browser: Browser) -> None:
    assert too_wide(browser, address, (f"docs/{name}.html" for name in WIDE), 390) == []


# the tables that are wider than their page: how many columns, and how many characters the longest cell has
MOVED = """() => [...document.querySelectorAll("article table")]
  .filter(table => table.parentElement.scrollWidth > table.parentElement.clientWidth)
  .map(table => [table.rows[0].cells.length,
                 Math.max(...[...table.rows].flatMap(row => [...row.cells].map(cell => cell.textContent.length)))])"""


@pytest.mark.long
def test_on_a_phone_only_figures_in_many_columns_have_to_be_moved(
    address: str, site: Path, browser: Browser
) -> None:
    """Text beside text, of which one half is out of sight, is not read."""
    found = {}
    with browser.new_context(viewport={"width": 390, "height": 900}) as context:
        page = context.new_page()
        for path in sorted(site.rglob("*.html")):
            if path.name not in ("index.html", "search.html", "genindex.html"):
                page.goto(f"{address}/{path.relative_to(site)}", wait_until="domcontentloaded")
                found[path.name] = [tuple(each) for each in page.evaluate(MOVED)]
    assert sum(len(each) for each in found.values()) > 0
    assert {name: each for name, tables in found.items() for each in tables if each[0] < 5 or each[1] > 40} == {}


def test_on_a_phone_the_cells_of_a_row_stand_one_below_the_other_with_their_heads(
    address: str, browser: Browser
) -> None:
    with browser.new_context(viewport={"width": 390, "height": 900}) as context:
        page = context.new_page()
        page.goto(f"{address}/docs/settings.html")
        cells = page.get_by_role("row").filter(has_text="direct_host").first.get_by_role("cell")
        boxes = [cells.nth(at).bounding_box() for at in range(3)]
        assert all(box is not None for box in boxes)
        assert len({box["x"] for box in boxes if box}) == 1
        tops = [box["y"] for box in boxes if box]
        assert tops == sorted(set(tops))
        assert cells.nth(2).evaluate("cell => getComputedStyle(cell, '::before').content") == '"meaning: "'
        page.set_viewport_size({"width": 1280, "height": 900})
        expect(page.get_by_role("columnheader", name="meaning").first).to_be_visible()
        assert len({box["y"] for at in range(3) if (box := cells.nth(at).bounding_box())}) == 1


@pytest.mark.long
@pytest.mark.parametrize("width", [1280, 390])
def test_no_page_is_wider_than_the_screen(width: int, address: str, site: Path, browser: Browser) -> None:
    pages = sorted(str(path.relative_to(site)) for path in (site / "docs").rglob("*.html"))
    assert len(pages) > 40
    assert too_wide(browser, address, pages, width) == []


def a_site_with(source: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    (source / "docs").mkdir(parents=True, exist_ok=True)
    (source / "docs" / "site").symlink_to(ROOT / "docs" / "site")
    (source / "docs" / "index.md").write_text("# Front\n\n## Begin\n\n- [Other](other.md)\n")
    (source / "docs" / "other.md").write_text("# Other\n\n" + "".join(f"{line}\n\n" for line in lines))
    return build(source.parent / "html", source=source)


def test_what_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    lines = ("[away](nowhere.md)", "[away](other.md#no-such-heading)", "![away](away.png)")
    done = a_site_with(tmp_path / "source", *lines, "[back](index.md#begin)")
    assert done.returncode == 1
    assert sorted(re.findall(r"other\.md:(\d+)", done.stderr)) == ["3", "5", "7"]


def test_a_page_that_nobody_listed_is_in_the_side_bar_and_what_leads_somewhere_is_fine(tmp_path: Path) -> None:
    (tmp_path / "source" / "docs").mkdir(parents=True)
    (tmp_path / "source" / "docs" / "new.md").write_text("# A new page\n")
    assert a_site_with(tmp_path / "source", "[back](index.md#begin)").returncode == 0
    front = (tmp_path / "html" / "docs" / "index.html").read_text()
    assert re.search(r'Also here.*<a [^>]*href="new.html">A new page', front, re.DOTALL)
