"""The tables of what the platform does by itself: problems, looks from outside and at itself, policies that follow the
MX.
"""

from typing import Annotated

import msgspec

from mailward.config.values import (
    MAX_DAYS,
    Days,
    Hours,
    Minutes,
    Positive,
    check_address,
    check_each,
    keep_each,
    parse_ehlo,
)
from mailward.core.names import parse_domain
from mailward.core.places import check_url, parse_target


class Problems(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When failures in verified reports become a problem that people hear of."""

    min_reporters: Positive = 2
    min_sessions: Positive = 10
    min_percent: Annotated[float, msgspec.Meta(ge=0, le=100)] = 1.0
    window_days: Days = 7
    settle_minutes: Annotated[int, msgspec.Meta(ge=0, le=MAX_DAYS * 1440)] = 10
    """How long a new problem gathers domains before people are told: one mail for all of them."""


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How domains are looked at from outside, again and again."""

    enabled: bool = True
    from_here: bool = True
    """Whether this machine's worker looks at domains; off where another node on the same database does."""
    minutes: Minutes = 60
    """How often each domain's DNS and policy host are looked at, give or take a tenth."""
    smtp_hours: Hours = 24
    """How often each address of an MX host is spoken to, for all domains together."""
    trouble_minutes: Minutes = 60
    """The same while a problem is open there."""
    confirm_minutes: Annotated[int, msgspec.Meta(ge=0, le=MAX_DAYS * 1440)] = 5
    """What is new is looked at once more after so long, before anybody is told."""
    deep_days: Annotated[int, msgspec.Meta(ge=0, le=MAX_DAYS)] = 7
    """How often TLS versions and slipped-in commands are tried, at MX hosts of proved domains; 0: never."""
    certificate_days: Days = 14
    """So long before a certificate ends it is a problem, where less than a third of its life is left too."""
    probes_per_hour: Positive = 30
    """The most connections to one MX address, whoever asks."""
    deep_probes_per_hour: Positive = 220
    """The same where cipher suites are asked for, at MX hosts of proved domains."""
    fetches_per_hour: Positive = 3600
    """The most connections to one address of policy hosts and report targets, whoever asks."""
    asks_per_hour: Positive = 20
    """So many checks one person may ask for."""
    ehlo_name: str = ""
    """Our name in EHLO; empty: the machine's."""
    source_v4: str = ""
    """The address that we connect to MX hosts from; empty: the system chooses."""
    source_v6: str = ""
    contact_url: str = ""
    """Where strangers read who looks at them: told to policy hosts."""
    keep_days: Days = 400
    """How long what was is kept."""
    keep_changes: Positive = 200
    """So many states of one domain are kept."""
    clock_domains: tuple[str, ...] = ()
    """Domains whose policy hosts tell us what time it is there, to notice a clock of ours that is wrong."""
    ca_file: str = ""
    """Certificate authorities (PEM) that senders trust; empty: the system's."""
    smtp_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 25
    """Of MX hosts; another one only in laboratories."""
    https_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 443
    """Of policy hosts; another one only in laboratories."""

    def __post_init__(self) -> None:
        for key, version in (("source_v4", 4), ("source_v6", 6)):
            if text := getattr(self, key):
                check_address(key, text, version)
        keep_each(self, "ehlo_name", parse_ehlo)
        check_each("contact_url", self.contact_url, lambda text: check_url(text, "https", "http"))
        check_each("clock_domains", self.clock_domains, parse_domain)


class Follow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Policies that follow the MX records, where a domain's people switched that on."""

    wait_hours: Hours = 24
    """So long people may object, after all servers agreed and before the policy changes."""
    planned_days: Days = 30
    """A planned MX host that has not come so long after its date is no plan any more, and people are told."""


class Doctor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How `mailward doctor` and the page Health look at the installation itself."""

    every_hours: Annotated[int, msgspec.Meta(ge=0, le=MAX_DAYS * 24)] = 6
    """How often the worker looks; 0: only when somebody asks."""
    smtp_target: str = ""
    """`name` or `name:port` of a mail server that shows whether port 25 goes out."""
    https_target: str = ""
    """`name` or `name:port` of a web server that shows whether port 443 goes out; empty: the first CA."""
    disk_percent: Annotated[int, msgspec.Meta(ge=1, le=50)] = 10
    """Less free space than that is told."""
    disk_days: Annotated[int, msgspec.Meta(ge=0, le=365)] = 14
    """A disk that is full within so many days, at the growth of the last ones, is told; 0: none is."""
    queue_minutes: Minutes = 60
    """Work that is due for longer is told."""
    backup_hours: Hours = 26
    """A backup that is older is told, where there is one."""
    dns_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 53
    """Of name servers; another one only in laboratories."""

    def __post_init__(self) -> None:
        for key, text in (("smtp_target", self.smtp_target), ("https_target", self.https_target)):
            check_each(key, text, lambda each: parse_target(each, 25))
