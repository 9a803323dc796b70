"""Configuration files as docs/behind/*.md has them: a block of code whose first line names the file.

Tests start servers with these very texts, in which ports, addresses and names of files alone are others, so that a
recipe that no longer works fails.
"""

import re
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "behind"


def read_recipe(document: str, file: str, replace: Mapping[str, str]) -> str:
    """The block of the document that is for `file`, with each of `replace` put in place of what the document has."""
    found = re.findall(
        r"^```[a-z]*\n((?:#|//|--) " + re.escape(file) + r"\n.*?)^```$",
        (FOLDER / document).read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert len(found) == 1, f"{document} has {len(found)} blocks for {file}"
    missing = [old for old in replace if old not in found[0]]
    assert not missing, f"{document}, {file}: {missing} is not there"
    # in one go: what was put in must not be replaced again; the longest first, as :8443 begins with :844
    longest_first = sorted(replace, key=len, reverse=True)
    pattern = "|".join(re.escape(old) for old in longest_first)
    text: str = re.sub(pattern, lambda match: replace[match[0]], found[0]) if replace else found[0]
    return text
