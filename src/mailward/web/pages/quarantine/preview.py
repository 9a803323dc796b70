"""The beginning of bytes that nobody could read, as something that can be looked at."""

from dataclasses import dataclass

MOST_BYTES = 4_096
_LINE = 16
_PRINTABLE = range(0x20, 0x7F)
_TEXT_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Preview:
    text: str
    is_text: bool
    """Otherwise it is a table of bytes."""
    is_cut: bool


def preview(content: bytes) -> Preview:
    head = content[:MOST_BYTES]
    if _is_text(head):
        return Preview(_visible(head.decode("utf-8", "replace")), True, len(content) > len(head))
    return Preview("\n".join(_dump(head)), False, len(content) > len(head))


def _is_text(head: bytes) -> bool:
    plain = sum(byte in _PRINTABLE or byte in b"\t\r\n" or byte >= 0x80 for byte in head)
    return b"\0" not in head and plain >= _TEXT_SHARE * len(head)


def _visible(text: str) -> str:
    """Control and direction characters show as their escapes: they could make text look like another."""
    return "".join(
        char if char.isprintable() or char in "\t\n" else char.encode("unicode-escape").decode("ascii")
        for char in text.replace("\r\n", "\n")
    )


def _dump(head: bytes) -> list[str]:
    lines = []
    for start in range(0, len(head), _LINE):
        row = head[start : start + _LINE]
        shown = "".join(chr(byte) if byte in _PRINTABLE else "." for byte in row)
        lines.append(f"{start:06x}  {row.hex(' '):<{3 * _LINE}} {shown}")
    return lines
