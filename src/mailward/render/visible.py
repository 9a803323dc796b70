"""Strangers' text made visible: what would steer a terminal or turn a line around is shown by its number."""


def make_visible(text: str) -> str:
    """The text with control, format, bidirectional and unassigned characters as [U+202E]: safe on a line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"[U+{ord(char):04X}]" for char in text)
