"""The tables of what an operator sees of Mailward: its log, its numbers, its traces."""

from typing import Annotated, Literal

import msgspec

from mailward.config.values import check_each
from mailward.core.places import check_networks, check_url, parse_place


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every process writes down."""

    format: Literal["text", "json", "journal"] = "text"
    """Lines on standard error, one JSON object a line there, or fields of systemd's journal."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """What is less grave is left out."""


class Tracing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Spans for OpenTelemetry."""

    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://.+)?$")] = ""
    """Where a collector takes OTLP over HTTP, without `/v1/traces`; empty: off."""
    ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """The share of pieces of work that are traced."""
    trusted: tuple[str, ...] = ()
    """Addresses or networks of HTTPS servers in front of the console whose `traceparent` is believed."""

    def __post_init__(self) -> None:
        check_each("endpoint", self.endpoint, lambda text: check_url(text, "https", "http"))
        check_networks("trusted", self.trusted)


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Numbers for Prometheus, and how each process is."""

    listen: tuple[str, ...] = ()
    """`address:port` of /metrics and the health pages of `mailward serve`, one or several; empty: none."""

    def __post_init__(self) -> None:
        check_each("listen", self.listen, parse_place)
