"""The marks of the documentation that `scripts/try-docs` follows."""

from pathlib import Path

import pytest
from tests.docs.marked import Block, Unmarked, read_blocks

DOCS = Path(__file__).parents[2] / "docs"


def page(folder: Path, text: str) -> list[Block]:
    file = folder / "page.md"
    file.write_text(text)
    return read_blocks(file)


def test_a_marked_block_is_run_or_written(tmp_path: Path) -> None:
    run = "# A\n\n<!-- try one -->\n```sh\nrun this\n```\n\n```sh\nnot this\n```\n\n"
    written = "   <!-- try two /etc/f -->\n   ```toml\n   a = 1\n   ```\n"
    assert page(tmp_path, run + written) == [
        Block("page.md", 3, "one", "", "run this\n"),
        Block("page.md", 12, "two", "/etc/f", "a = 1\n"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<!-- try one -->\n\n```sh\nx\n```\n",
        "<!-- try one -->\n```sh\nx\n",
        "<!-- try One thing -->\n```sh\nx\n```\n",
    ],
)
def test_a_mark_without_its_block_is_no_mark(text: str, tmp_path: Path) -> None:
    with pytest.raises(Unmarked, match=r"page\.md:1"):
        page(tmp_path, text)


def test_every_mark_of_the_documentation_is_one() -> None:
    steps = {block.step for each in sorted(DOCS.rglob("*.md")) for block in read_blocks(each)}
    assert {"configure", "add", "records", "report"} <= steps
