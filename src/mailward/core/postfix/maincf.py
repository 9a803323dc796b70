"""A Postfix instance as `postconf` tells of it: parameters, services, and what master.cf overrides for a service.

read_parameters(postconf -x)    read_services(postconf -M)    read_overrides(postconf -Px)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

_VERSION = re.compile(r"(\d+)\.(\d+)")
_SOCKETMAP = re.compile(r"socketmap:(?P<kind>inet|unix):(?P<address>\S+):(?P<name>[^:\s]+)\Z")


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    kind: str
    """inet, unix, ..."""
    is_chrooted: bool
    command: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    """What `-o` says for it alone."""

    def __str__(self) -> str:
        return f"{self.name}/{self.kind}"


@dataclass(frozen=True, slots=True)
class SocketmapTable:
    """One entry of a list of tables that is a socketmap."""

    kind: str
    address: str
    """`host:port`, or the path as it stands there."""
    map_name: str

    def __str__(self) -> str:
        return f"socketmap:{self.kind}:{self.address}:{self.map_name}"

    def file(self, queue_directory: str, *, is_chrooted: bool) -> PurePosixPath | None:
        """Where a client really finds the unix socket; None for TCP.

        smtp(8) runs in the queue directory, and a chrooted one takes that for the root.
        """
        if self.kind != "unix":
            return None
        if is_chrooted or not self.address.startswith("/"):
            return PurePosixPath(queue_directory) / self.address.lstrip("/")
        return PurePosixPath(self.address)


@dataclass(frozen=True, slots=True)
class Instance:
    parameters: Mapping[str, str]
    services: tuple[Service, ...]

    @property
    def config_directory(self) -> str:
        return self.get("config_directory")

    @property
    def queue_directory(self) -> str:
        return self.get("queue_directory")

    @property
    def version(self) -> tuple[int, int]:
        """(3, 10); (0, 0) where it is not told."""
        found = _VERSION.match(self.get("mail_version"))
        return (int(found[1]), int(found[2])) if found else (0, 0)

    @property
    def clients(self) -> tuple[Service, ...]:
        """The services that run smtp(8)."""
        return tuple(service for service in self.services if service.command == "smtp")

    def get(self, name: str) -> str:
        return self.parameters.get(name, "")

    def get_for(self, service: Service, name: str) -> str:
        """The value that holds for a service."""
        return service.overrides.get(name, self.get(name))


def read_parameters(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line[:1].isspace():
            found[name.strip()] = value.strip()
    return found


def read_services(text: str, overrides: Mapping[str, Mapping[str, str]]) -> tuple[Service, ...]:
    """`overrides` by `name/kind`, as read_overrides gives them."""
    services = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8:
            continue
        name, kind, chroot, command = words[0], words[1], words[4], words[7]
        services.append(Service(name, kind, chroot == "y", command, overrides.get(f"{name}/{kind}", {})))
    return tuple(services)


def read_overrides(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for key, value in read_parameters(text).items():
        service, _, name = key.rpartition("/")
        if service:
            found.setdefault(service, {})[name] = value
    return found


def split_tables(value: str) -> list[str]:
    """The entries of a list such as smtp_tls_policy_maps; `{ ... }` stays together."""
    return re.findall(r"\{[^{}]*\}|[^\s,{}]+", value)


def parse_socketmap(table: str) -> SocketmapTable | None:
    found = _SOCKETMAP.match(table)
    return SocketmapTable(found["kind"], found["address"], found["name"]) if found else None
