"""The tables of what an operator sees of Mailward: its numbers."""

import msgspec

from mailward.core.places import parse_place


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Numbers for Prometheus, and how each process is."""

    listen: str = ""
    """`address:port` of /metrics and the health pages of `mailward serve`; empty: none."""

    def __post_init__(self) -> None:
        if self.listen:
            parse_place(self.listen)
