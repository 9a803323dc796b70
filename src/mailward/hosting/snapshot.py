"""The policies in memory."""

import logging
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from mailward.hosting.following import Keeper, read_saved
from mailward.net import clock
from mailward.net.durable import append, sync_folder, write_whole
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
"""A large snapshot is saved whole no more often; meanwhile, for half a minute at most, what changes is appended."""
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
    later: str = ""
    """The name of the file beside it to which later changes are appended; empty: as earlier releases saved it."""


class _Change(msgspec.Struct, frozen=True):
    """A line of that file: what all names of the domains that changed serve from then on."""

    generation: int
    names: list[str]
    hosts: dict[str, tuple[str, int | None]]
    """Of those, what still serves a policy: its body, and since when."""
    leading: list[str]


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


def save_snapshot(snapshot: Snapshot, path: Path) -> Path:
    """Whole or not at all. Returns where later changes are to be appended. Raises OSError."""
    numbers: dict[bytes, int] = {}
    hosts = {
        host: (numbers.setdefault(body, len(numbers)), snapshot.modified.get(host))
        for host, body in snapshot.policies.items()
    }
    bodies = [body.decode() for body in numbers]
    # a name of its own: changes of before can never be taken for changes of this one
    later = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    saved = _Saved(snapshot.generation, bodies, hosts, sorted(snapshot.leading), later=later.name)
    write_whole(msgspec.json.encode(saved), path)
    sync_folder(path.parent)
    for old in path.parent.glob(f"{path.name}.*"):
        old.unlink(missing_ok=True)
    return later


def load_saved(path: Path) -> Snapshot:
    """What was saved last, with what was appended; empty where there is none or it cannot be read."""
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
    leading, generation = set(saved.leading), saved.generation
    for change in _read_later(path, saved.later):
        for host in change.names:
            policies.pop(host, None)
            modified.pop(host, None)
        policies |= {host: text.encode() for host, (text, _) in change.hosts.items()}
        modified |= {host: since for host, (_, since) in change.hosts.items() if since is not None}
        leading.difference_update(change.names)
        leading.update(change.leading)
        generation = change.generation
    return Snapshot(generation, policies, modified, frozenset(leading))


def _read_later(path: Path, name: str) -> Iterator[_Change]:
    """In order, up to the first that was not written to its end."""
    if not name:
        return
    try:
        lines = path.with_name(Path(name).name).read_bytes().splitlines()
        for line in lines:
            yield msgspec.json.decode(line, type=_Change)
    except FileNotFoundError:
        return
    except (OSError, msgspec.DecodeError) as error:
        _log.error("saved-changes-unreadable", extra={"file": path, "reason": error})


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
        """Whether the file has everything, without what was appended."""
        self._later: Path | None = None
        """Where changes are appended; None: the whole has to be saved first."""
        self._change: _Change | None = None
        """What `read` found last; None: the whole is new."""
        super().__init__(path)

    def load_saved(self, path: Path) -> Snapshot:
        return load_saved(path)

    def read(self) -> Snapshot:
        # before what it is about: a change between the two is then read again
        state = hosting_state()
        if state == self._state:
            if not self._is_saved:
                self.keep(self.current)
            return self.current
        changed = self._change = None
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
        hosts: dict[str, tuple[str, int | None]] = {}
        for name, policy in hosted.policies.items():
            body = policy.text.encode()
            policies[PREFIX + name] = self._bodies.setdefault(body, body)
            modified[PREFIX + name] = policy.since
            hosts[PREFIX + name] = (policy.text, policy.since)
        now_leading = sorted(_names(hosted, leading_now))
        self._change = _Change(hosted.generation, sorted(changed_hosts | set(hosts)), hosts, now_leading)
        if len(self._bodies) > len(policies) + _SPARE_BODIES:
            self._bodies = {body: body for body in policies.values()}
        return Snapshot(hosted.generation, policies, modified, leading)

    def save(self, held: Snapshot, path: Path) -> None:
        """What is served after this is served again after a crash, since an id may be told of it at once."""
        now = clock.monotonic()
        is_large = len(held.policies) > _SAVED_AT_ONCE
        later, change, self._is_saved = self._later, self._change, False
        # if this fails, all of it has to be saved the next time
        self._later = self._change = None
        if later is None or change is None or not is_large or now - self._saved_at >= SAVE_SECONDS:
            later = save_snapshot(held, path)
            self._saved_at, self._is_saved = now, True
        else:
            append(msgspec.json.encode(change) + b"\n", later)
        self._later = later

    def count(self, held: Snapshot) -> int:
        return len(held.policies)
