"""The policies in memory."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mailward.hosting.following import Keeper, read_saved, write_whole
from mailward.store.queries.hosting import Hosted, hosted_policies

_log = logging.getLogger("mailward.hosting")

PREFIX = "mta-sts."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is served. Replaced as a whole, never changed."""

    generation: int = 0
    policies: Mapping[str, bytes] = field(default_factory=dict)
    """Policy host name (`mta-sts.<domain>`) -> body. Bodies that are alike are one object."""
    modified: Mapping[str, int] = field(default_factory=dict)
    """Policy host name -> since when it serves this body, in seconds since 1970."""


class _Saved(msgspec.Struct, frozen=True):
    """Bodies are written once: those of many domains are alike."""

    generation: int
    bodies: list[str] = []
    hosts: dict[str, tuple[int, int | None]] = {}
    """Policy host name -> number of its body, and since when."""
    policies: dict[str, str] = {}
    """As earlier releases saved them."""


def make_snapshot(hosted: Hosted) -> Snapshot:
    bodies: dict[str, bytes] = {}
    policies, modified = {}, {}
    for name, policy in hosted.policies.items():
        host = PREFIX + name
        policies[host] = bodies.setdefault(policy.text, policy.text.encode())
        modified[host] = policy.since
    return Snapshot(hosted.generation, policies, modified)


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Whole or not at all. Raises OSError."""
    numbers: dict[bytes, int] = {}
    hosts = {
        host: (numbers.setdefault(body, len(numbers)), snapshot.modified.get(host))
        for host, body in snapshot.policies.items()
    }
    saved = _Saved(snapshot.generation, [body.decode() for body in numbers], hosts)
    write_whole(msgspec.json.encode(saved), path)


def load_saved(path: Path) -> Snapshot:
    """The snapshot that was saved last; an empty one where there is none or it cannot be read."""
    saved = read_saved(path, _Saved)
    if saved is None:
        return Snapshot()
    bodies = [text.encode() for text in saved.bodies]
    try:
        policies = {host: bodies[number] for host, (number, _) in saved.hosts.items()}
    except IndexError:
        _log.error("saved-snapshot-unreadable", extra={"file": path, "reason": "a body is missing"})
        return Snapshot()
    policies |= {host: text.encode() for host, text in saved.policies.items()}
    modified = {host: since for host, (_, since) in saved.hosts.items() if since is not None}
    return Snapshot(saved.generation, policies, modified)


class SnapshotKeeper(Keeper[Snapshot]):
    def load_saved(self, path: Path) -> Snapshot:
        return load_saved(path)

    def read(self) -> Snapshot:
        return make_snapshot(hosted_policies())

    def save(self, held: Snapshot, path: Path) -> None:
        save_snapshot(held, path)

    def count(self, held: Snapshot) -> int:
        return len(held.policies)
