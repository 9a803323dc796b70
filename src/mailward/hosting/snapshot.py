"""The policies in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mailward.hosting.following import Keeper, read_saved, write_whole
from mailward.store.queries.hosting import Hosted, hosted_policies

PREFIX = "mta-sts."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is served. Replaced as a whole, never changed."""

    generation: int = 0
    policies: Mapping[str, bytes] = field(default_factory=dict)
    """Policy host name (`mta-sts.<domain>`) -> body."""


class _Saved(msgspec.Struct, frozen=True):
    generation: int
    policies: dict[str, str]


def make_snapshot(hosted: Hosted) -> Snapshot:
    return Snapshot(
        hosted.generation, {PREFIX + name: text.encode() for name, text in hosted.policies.items()}
    )


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Whole or not at all. Raises OSError."""
    policies = {host: body.decode() for host, body in snapshot.policies.items()}
    write_whole(msgspec.json.encode(_Saved(snapshot.generation, policies)), path)


def load_saved(path: Path) -> Snapshot:
    """The snapshot that was saved last; an empty one where there is none or it cannot be read."""
    saved = read_saved(path, _Saved)
    if saved is None:
        return Snapshot()
    return Snapshot(saved.generation, {host: text.encode() for host, text in saved.policies.items()})


class SnapshotKeeper(Keeper[Snapshot]):
    def load_saved(self, path: Path) -> Snapshot:
        return load_saved(path)

    def read(self) -> Snapshot:
        return make_snapshot(hosted_policies())

    def save(self, held: Snapshot, path: Path) -> None:
        save_snapshot(held, path)

    def count(self, held: Snapshot) -> int:
        return len(held.policies)
