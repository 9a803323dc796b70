"""The blocks of the documentation that `scripts/try-docs` follows.

A comment stands before a block, which neither a git host nor the site shows:

    <!-- try STEP -->                the block is run in a shell, as root
    <!-- try STEP /path/of/file -->  the block is what this file holds

A page's blocks of one step are followed in the order of the page.
"""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(r"^ *<!-- try (?P<step>[a-z-]+)(?: (?P<file>/\S+))? -->$")
_FENCE = re.compile(r"^ *```(?P<language>\w*)$")


class Unmarked(ValueError):
    """A mark without a block, or a block without an end."""


@dataclass(frozen=True, slots=True)
class Block:
    page: str
    line: int
    step: str
    file: str
    """Empty: it is run."""
    text: str


def read_blocks(page: Path) -> list[Block]:
    """The marked blocks of a page, in its order. Raises Unmarked."""
    lines = page.read_text(encoding="utf-8").splitlines()
    blocks = []
    for number, line in enumerate(lines):
        if found := _MARK.match(line):
            text = _fenced(lines[number + 1 :], f"{page.name}:{number + 1}")
            blocks.append(Block(page.name, number + 1, found["step"], found["file"] or "", text))
        elif "<!-- try" in line:
            raise Unmarked(
                f"{page.name}:{number + 1}: a mark is <!-- try STEP --> or <!-- try STEP /FILE -->"
            )
    return blocks


def _fenced(lines: list[str], where: str) -> str:
    if not lines or not _FENCE.match(lines[0]):
        raise Unmarked(f"{where}: no ``` block follows the mark")
    for number, line in enumerate(lines[1:], 1):
        if line.strip() == "```":
            return textwrap.dedent("\n".join(lines[1:number])) + "\n"
    raise Unmarked(f"{where}: the block has no end")
