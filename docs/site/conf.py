"""How `make docs` builds the site: Sphinx, MyST and Furo over the Markdown files as they stand.

The pages are read from the root of the repository, so that a link means the same here and on a git host. Their order,
the groups of the side bar and the names there are the lists of docs/index.md: it is the front page and the table of
contents in one. A page that nobody has listed comes under "Also here"; a link or an anchor that leads nowhere fails the
build (`sphinx-build --fail-on-warning`). Nothing is loaded from another host, and all but the search works without
scripts.
"""

import re
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag  # Furo needs it too
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

FRONT = "docs/index"
LONGEST_FIGURE = 40
"""Characters; a table that has a longer cell is one of text."""
_HEADING = re.compile(r"^## (?P<caption>.+)$")
_ENTRY = re.compile(r"^(?P<indent> *)- \[(?P<name>[^\]]+)\]\((?P<target>[^)#]+)\.md\)")

_NAMED_BY_FILE = re.compile(r"\[(?P<path>[\w./-]+)\.md\](?=\([^)]+\.md\b)")

project = "Mailward"
author = "the Mailward authors"
copyright = "the Mailward authors, under the Apache licence 2.0"  # noqa: A001 (Sphinx's name for it)
extensions = ["myst_parser"]
root_doc = FRONT
include_patterns = ["docs/**", "CHANGELOG.md", "CONTRIBUTING.md", "tests/zoo/README.md"]
# folders that need not be walked
exclude_patterns = [".git", ".venv*", ".cache", "bench", "dist", "packaging", "requirements", "src", "var"]
source_suffix = {".md": "markdown"}
highlight_language = "none"  # indented blocks: commands, records, answers
pygments_style = "friendly"
pygments_dark_style = "github-dark"

myst_heading_anchors = 4
myst_links_external_new_tab = False

html_theme = "furo"
html_title = "Mailward"
html_static_path = ["mailward.css", "sidebar.js"]
html_css_files = ["mailward.css"]
html_js_files = [("sidebar.js", {"defer": "defer"})]
html_extra_path = ["index.html"]  # the root of the site leads to its front page
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def _listed(front: Path) -> tuple[dict[str, list[tuple[str, str]]], dict[str, list[tuple[str, str]]]]:
    """What the front page lists: by caption; and what is indented below an entry, by the page of that entry."""
    root = front.parents[1].resolve()
    groups: dict[str, list[tuple[str, str]]] = {}
    below: dict[str, list[tuple[str, str]]] = {}
    entries: list[tuple[str, str]] = []
    for line in front.read_text(encoding="utf-8").splitlines():
        if heading := _HEADING.match(line):
            entries = groups.setdefault(heading["caption"], [])
        elif found := _ENTRY.match(line):
            path = (front.parent / f"{found['target']}.md").resolve()
            entry = found["name"], path.relative_to(root).with_suffix("").as_posix()
            (below.setdefault(entries[-1][1], []) if found["indent"] else entries).append(entry)
    return groups, below


def _toctree(entries: list[tuple[str, str]], caption: str = "") -> str:
    lines = ["", "", "```{toctree}", ":hidden:"]
    lines += [f":caption: {caption}"] if caption else []
    return "\n".join(
        [*lines, "", *(f"{name} </{page}>" if name else f"/{page}" for name, page in entries), "```", ""]
    )


def _give_order(app: Sphinx, docname: str, source: list[str]) -> None:
    app.env.note_dependency(f"{FRONT}.md")  # when its lists change, every page is read again
    groups, below = _listed(Path(app.srcdir) / f"{FRONT}.md")
    if docname == FRONT:
        listed = {page for entries in (*groups.values(), *below.values()) for _, page in entries}
        rest = sorted(set(app.env.found_docs) - listed - {FRONT})
        groups["Also here"] = [("", page) for page in rest]
        source[0] += "".join(_toctree(entries, caption) for caption, entries in groups.items() if entries)
    else:
        source[0] = _NAMED_BY_FILE.sub(r"[\g<path>]", source[0])  # [sender.md](sender.md): here it is no file
    if docname in below:
        source[0] += _toctree(below[docname])


def _read_front_again(
    _app: Sphinx, _env: BuildEnvironment, added: set[str], _changed: set[str], removed: set[str]
) -> list[str]:
    return [FRONT] if added or removed else []


def _label_cells(
    _app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: nodes.document | None
) -> None:
    """Each cell of a table with text bears the head of its column: on a phone the cells of a row stand one below the
    other (mailward.css). Tables of figures stay what they are, for their columns are there to be compared.
    """
    if "<table" not in context.get("body", ""):
        return
    soup = BeautifulSoup(context["body"], "html.parser")
    for table in soup.find_all("table"):
        rows = [row.find_all(["th", "td"]) for row in table.find_all("tr")]
        if table.thead is None or not any(_is_text(cell) for cells in rows for cell in cells):
            continue
        table["class"] = [*table.get("class", []), "stacks"]
        # a browser forgets that it is a table where its parts are shown as blocks
        table["role"] = "table"
        heads = [cell.get_text(" ", strip=True) for cell in rows[0]]
        for row, cells in zip(table.find_all("tr"), rows, strict=True):
            row["role"] = "row"
            for cell, head in zip(cells, heads, strict=False):
                cell["role"] = "columnheader" if cell.name == "th" else "cell"
                if not cell.get_text(strip=True) and cell.img is None:
                    cell["class"] = [*cell.get("class", []), "nothing"]
                elif head and cell.name == "td" and cell is not cells[0] and len(heads) > 2:
                    cell["data-label"] = head
    context["body"] = str(soup)


def _is_text(cell: Tag) -> bool:
    return len(cell.get_text()) > LONGEST_FIGURE


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", _label_cells)
    app.connect("source-read", _give_order)
    app.connect("env-get-outdated", _read_front_again)
