"""The one way to HTML: text is escaped unless it is Markup, and Markup comes only from here.

element("p", "a < b", class_="doc-lead").html    # <p class="doc-lead">a &lt; b</p>
"""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from mailward.render.visible import make_visible

_VOID = frozenset({"rect", "br"})
_LINKABLE = ("https://", "http://")


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that is safe as it is."""

    html: str


Child = str | Markup | None
"""None stands for nothing, so that a condition fits into a list of children."""


def element(name: str, *children: Child, class_: str = "", **attributes: str | int) -> Markup:
    """`<name class="..." attributes>children</name>`. Names are ours; values and text are escaped."""
    given = {"class": class_, **attributes} if class_ else attributes
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escape(str(value))}"' for key, value in given.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(children).html}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """The children one after the other."""
    return Markup("".join(_write(child) for child in children))


def link(url: str, text: str) -> Markup:
    """A link, if it leads to http or https and nowhere else; the bare text otherwise."""
    if not url.lower().startswith(_LINKABLE):
        return join([text])
    return element("a", text, href=url, rel="nofollow noopener noreferrer")


def _write(child: Child) -> str:
    if child is None:
        return ""
    return child.html if isinstance(child, Markup) else _escape(child)


def _escape(text: str) -> str:
    return escape(make_visible(text), quote=True)
