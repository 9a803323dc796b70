"""A class that only a style sheet of some pages knows does nothing on a page that does not load it."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

WEB = Path(str(files("mailward.web")))
TEMPLATES, SHEETS = WEB / "templates", WEB / "static" / "mailward"
PAGES = [path for path in sorted(TEMPLATES.rglob("*.html")) if "{% extends" in path.read_text()]
ALWAYS = "mailward.css"


def known_to(sheet: Path) -> set[str]:
    selectors = re.findall(r"([^{}]+)\{", sheet.read_text())
    return {name for selector in selectors for name in re.findall(r"\.([a-z][a-z0-9-]*)", selector)}


KNOWN = {sheet.name: known_to(sheet) for sheet in SHEETS.glob("*.css")}


def text_of(path: Path, outer: tuple[Path, ...] = ()) -> str:
    """With what it includes."""
    text = path.read_text()
    inner = [TEMPLATES / name for name in re.findall(r'{% include "([^"]+)"', text)]
    return text + "".join(text_of(each, (*outer, path)) for each in inner if each not in (*outer, path))


@pytest.mark.parametrize("page", [str(path.relative_to(TEMPLATES)) for path in PAGES])
def test_a_page_loads_the_sheets_of_its_classes(page: str) -> None:
    text = text_of(TEMPLATES / page)
    loaded = {ALWAYS, *re.findall(r"mailward/([a-z]+\.css)", text)}
    styled = set().union(*(KNOWN[name] for name in loaded))
    attributes = [re.sub(r"{[%{].*?[%}]}", " ", each) for each in re.findall(r'class="([^"]*)"', text)]
    used = {name for attribute in attributes for name in attribute.split()}
    elsewhere = {name: [sheet for sheet, names in KNOWN.items() if name in names] for name in used - styled}
    assert not {name: sheets for name, sheets in elsewhere.items() if sheets}
