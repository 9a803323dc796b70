"""A bounded mapping that forgets what was not used lately."""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """Two dicts: when the young one is full it becomes the old one, and the old one is forgotten. What is found in
    the old one moves to the young. No bookkeeping at a hit, and never more than `max_entries` entries.
    """

    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        if (value := self.young.get(key)) is not None:
            return value
        if (value := self.old.pop(key, None)) is not None:
            self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        self.young[key] = value
        if len(self.young) * 2 > self.max_entries:
            self.old = self.young
            self.young = {}

    def pop(self, key: K) -> V | None:
        young, old = self.young.pop(key, None), self.old.pop(key, None)
        return old if young is None else young

    def clear(self) -> None:
        self.young.clear()
        self.old.clear()

    def values(self) -> list[V]:
        return [*self.old.values(), *self.young.values()]

    def __len__(self) -> int:
        return len(self.young) + len(self.old)
