"""Lines for a terminal, wrapped to its width, coloured where it has colours.

Every line is made visible before it is coloured: what strangers wrote can neither steer the terminal nor end a colour.
"""

import textwrap
from enum import StrEnum

from mailward.render.visible import make_visible
from mailward.render.wording import split_code

WIDTH = 100
_HELD = "\u00a0"
"""Holds the words of a command together while lines are made; never seen."""


class Style(StrEnum):
    """What ECMA-48 calls SGR."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    BAD = "1;31"
    DOUBTFUL = "1;33"
    GOOD = "1;32"
    NOTICE = "1;34"


class Paper:
    def __init__(self, width: int = WIDTH, *, with_colours: bool = False) -> None:
        self._width, self._with_colours = width, with_colours
        self._lines: list[str] = []

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def line(self, text: str = "", style: Style = Style.PLAIN, *, painted: int | None = None) -> None:
        """As it is, however long. `painted`: how many characters from the left have the style; None: all."""
        shown = make_visible(text)
        if style and self._with_colours:
            shown = f"\x1b[{style}m{shown[:painted]}\x1b[0m{shown[len(shown[:painted]) :]}"
        self._lines.append(shown)

    def prose(
        self,
        text: str,
        indent: str,
        first: str | None = None,
        style: Style = Style.PLAIN,
        *,
        painted: int | None = None,
    ) -> None:
        """Wrapped at blanks. `first`: what the first line begins with, instead of the indent; it alone is styled."""
        start = indent if first is None else first
        for at, line in enumerate(wrap(text, indent, start, self._width)):
            self.line(line, Style.PLAIN if at else style, painted=painted)


def wrap(text: str, indent: str, first: str, width: int = WIDTH) -> list[str]:
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_HELD, " ") for line in lines] or [first.rstrip()]


def hold_commands(step: str) -> str:
    """Commands lose their backticks and are not broken over lines: a person copies them."""
    pieces = split_code(step)
    return "".join(text.replace(" ", _HELD) if is_code else text for text, is_code in pieces)
