"""The policies in memory."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mailward.hosting.following import Keeper, read_saved
from mailward.net import clock
from mailward.net.durable import write_whole
from mailward.store.queries.hosting import (
    Hosted,
    HostingState,
    changed_domains,
    hosted_policies,
    hosting_state,
    leading_domains,
)

_log = logging.getLogger("mailward.hosting")

PREFIX = "mta-sts."
SAVE_SECONDS = 10.0
"""A large snapshot is saved no more often; what is then missed is saved within half a minute."""
_SAVED_AT_ONCE = 1_000
"""A small one with each change."""
_SPARE_BODIES = 10_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is served. Replaced as a whole, never changed."""

    generation: int = 0
    policies: Mapping[str, bytes] = field(default_factory=dict)
    """Policy host name (`mta-sts.<domain>`) -> body. Bodies that are alike are one object."""
    modified: Mapping[str, int] = field(default_factory=dict)
    """Policy host name -> since when it serves this body, in seconds since 1970."""
    leading: frozenset[str] = frozenset()
    """Policy host names of proved domains that lead to us, as far as we know; empty where nobody asks for that."""


class _Saved(msgspec.Struct, frozen=True):
    """Bodies are written once: those of many domains are alike."""

    generation: int
    bodies: list[str] = []
    hosts: dict[str, tuple[int, int | None]] = {}
    """Policy host name -> number of its body, and since when."""
    leading: list[str] = []
    policies: dict[str, str] = {}
    """As earlier releases saved them."""


def make_snapshot(hosted: Hosted, leading: Collection[int] = ()) -> Snapshot:
    """`leading`: the domains whose names lead to us."""
    bodies: dict[str, bytes] = {}
    policies, modified = {}, {}
    for name, policy in hosted.policies.items():
        host = PREFIX + name
        policies[host] = bodies.setdefault(policy.text, policy.text.encode())
        modified[host] = policy.since
    return Snapshot(hosted.generation, policies, modified, _names(hosted, leading))


def _names(hosted: Hosted, domain_ids: Collection[int]) -> frozenset[str]:
    return frozenset(
        PREFIX + name for name, policy in hosted.policies.items() if policy.domain_id in domain_ids
    )


def save_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Whole or not at all. Raises OSError."""
    numbers: dict[bytes, int] = {}
    hosts = {
        host: (numbers.setdefault(body, len(numbers)), snapshot.modified.get(host))
        for host, body in snapshot.policies.items()
    }
    saved = _Saved(snapshot.generation, [body.decode() for body in numbers], hosts, sorted(snapshot.leading))
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
    return Snapshot(saved.generation, policies, modified, frozenset(saved.leading))


class SnapshotKeeper(Keeper[Snapshot]):
    """Reads the domains that changed alone, where the database knows which, and makes a new snapshot of the last."""

    def __init__(self, path: Path, *, knows_leading: bool = False) -> None:
        """`knows_leading`: whether to keep which names lead to us, too."""
        self._knows_leading = knows_leading
        self._state: HostingState | None = None
        """Where the current snapshot stands; None: it is from the disk, and everything has to be read."""
        self._hosts: dict[int, str] = {}
        """Domain -> its policy host name."""
        self._bodies: dict[bytes, bytes] = {}
        self._saved_at = float("-inf")
        self._is_saved = True
        super().__init__(path)

    def load_saved(self, path: Path) -> Snapshot:
        return load_saved(path)

    def read(self) -> Snapshot:
        # before what it is about: a change between the two is then read again
        state = hosting_state()
        if state == self._state:
            if not self._is_saved:
                self.save(self.current, self._path)
            return self.current
        changed = None
        if self._state is not None and self._state.must_prove == state.must_prove:
            changed = changed_domains(self._state)
        hosted = hosted_policies(changed)
        leading = leading_domains(changed) if self._knows_leading else ()
        if changed is not None:
            fresh = self._changed(hosted, changed, leading)
        else:
            fresh = make_snapshot(hosted, leading)
            self._hosts.clear()
            self._bodies = {body: body for body in fresh.policies.values()}
        self._hosts |= {policy.domain_id: PREFIX + name for name, policy in hosted.policies.items()}
        self._state = state
        return fresh

    def _changed(self, hosted: Hosted, changed: Collection[int], leading_now: Collection[int]) -> Snapshot:
        """The current snapshot with what is hosted now of the domains that changed."""
        policies, modified = dict(self.current.policies), dict(self.current.modified)
        changed_hosts = {self._hosts[domain_id] for domain_id in changed if domain_id in self._hosts}
        leading = self.current.leading - changed_hosts | _names(hosted, leading_now)
        for domain_id in changed:
            if host := self._hosts.pop(domain_id, None):
                policies.pop(host, None)
                modified.pop(host, None)
        for name, policy in hosted.policies.items():
            body = policy.text.encode()
            policies[PREFIX + name] = self._bodies.setdefault(body, body)
            modified[PREFIX + name] = policy.since
        if len(self._bodies) > len(policies) + _SPARE_BODIES:
            self._bodies = {body: body for body in policies.values()}
        return Snapshot(hosted.generation, policies, modified, leading)

    def save(self, held: Snapshot, path: Path) -> None:
        now = clock.monotonic()
        if len(held.policies) > _SAVED_AT_ONCE and now - self._saved_at < SAVE_SECONDS:
            self._is_saved = False
            return
        save_snapshot(held, path)
        self._saved_at, self._is_saved = now, True

    def count(self, held: Snapshot) -> int:
        return len(held.policies)
