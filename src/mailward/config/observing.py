"""The tables of what an operator sees of Mailward: its log, its numbers."""

from typing import Literal

import msgspec

from mailward.core.places import parse_place


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every process writes down."""

    format: Literal["text", "json", "journal"] = "text"
    """Lines on standard error, one JSON object a line there, or fields of systemd's journal."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is less grave is left out."""


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Numbers for Prometheus, and how each process is."""

    listen: str = ""
    """`address:port` of /metrics and the health pages of `mailward serve`; empty: none."""

    def __post_init__(self) -> None:
        if self.listen:
            parse_place(self.listen)
