"""The rows of the zoo: each a directory with `row.toml`, which says what is wrong and what a check must find.

Its first MX host is a Postfix; Exim where there is an `exim.conf`, OpenSMTPD where there is a `smtpd.conf` (mtas.py).

A row says only where it differs from a domain that is as it should be. In its texts DOMAIN stands for the domain, and
ADDRESS for the address of its first MX host, HOST for that host's name.
"""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "rows"
DAYS = Path(__file__).parent / "days"
RECORD = "v=STSv1; id=20160831085700Z;"
POLICY = "version: STSv1\nmode: enforce\nmx: mx.DOMAIN\nmax_age: 2419200\n"
REPORTS = "v=TLSRPTv1; rua=mailto:tls@DOMAIN"


@dataclass(frozen=True)
class Mx:
    name: str = "mx"
    """Below the domain."""
    certificate: str = "good"
    postfix: tuple[str, ...] = ()
    """Options of its smtpd."""
    tlsa: tuple[str, ...] = ()
    is_listening: bool = True
    is_injectable: bool = False
    """The server of injectable.py instead of Postfix."""
    has_v6: bool = False
    """An IPv6 address too."""
    v6_certificate: str = ""
    """Empty: nobody listens there; otherwise a service of its own with such a certificate."""


@dataclass(frozen=True)
class Row:
    label: str
    """Of its directory; the domain is `<label>.test`."""
    fault: str
    """In words, with its class in standards.md."""
    expect: tuple[str, ...] = ()
    """`code severity`, all of them and no more."""
    verdicts: dict[str, str] = field(default_factory=dict)
    """Outcomes by kind of sender, those that the row is about."""
    unobserved: tuple[str, ...] = ()
    """The host of each entry of `not_observed`."""
    is_deep: bool = False
    """Checked with --deep."""
    is_daily: bool = False
    """In CI too; `make test-all` runs every row."""
    exim: str = ""
    """Its exim.conf."""
    opensmtpd: str = ""
    """Its smtpd.conf."""
    is_signed: bool = False
    record: tuple[str, ...] = (RECORD,)
    reports: tuple[str, ...] = (REPORTS,)
    policy: str = POLICY
    """Empty: no policy host at all."""
    web_certificate: str = "good"
    nginx: str = ""
    """More of its server block."""
    web: tuple[int, ...] = (0,)
    """Which addresses the policy host has, of servers.WEBS."""
    mx: tuple[Mx, ...] = (Mx(),)
    mx_records: tuple[str, ...] = ()
    """Instead of one for each host."""
    zone: tuple[str, ...] = ()
    """More lines."""
    bogus: tuple[str, ...] = ()
    """Names below the domain that are zones with wrong signatures."""

    @property
    def domain(self) -> str:
        return f"{self.label}.test"


def read_rows() -> tuple[Row, ...]:
    return tuple(_read(path) for path in sorted(FOLDER.glob("*/row.toml")))


def read_days() -> tuple[tuple[Row, ...], ...]:
    """Domains that change: for each day that there is, the rows of that day."""
    days: dict[str, list[Row]] = {}
    for path in sorted(DAYS.glob("*/*.toml")):
        days.setdefault(path.stem, []).append(_read(path))
    return tuple(tuple(rows) for _, rows in sorted(days.items()))


def _read(path: Path) -> Row:
    values = tomllib.loads(path.read_text())
    hosts = tuple(Mx(**_frozen(host, Mx)) for host in values.pop("mx", [{}]))
    for name, file in (("exim", "exim.conf"), ("opensmtpd", "smtpd.conf")):
        if (path.parent / file).exists():
            values[name] = (path.parent / file).read_text()
    return Row(label=path.parent.name, mx=hosts, **_frozen(values, Row))


def _frozen(values: dict[str, Any], kind: type) -> dict[str, Any]:
    unknown = set(values) - {each.name for each in fields(kind)}
    assert not unknown, f"{kind.__name__} has no {', '.join(unknown)}"
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
