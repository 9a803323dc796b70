"""The catalog of the zones `mta-sts.<domain>` (RFC 9432), by which secondaries learn of each by themselves.

catalog.<zone>                    SOA; NS invalid.
version.catalog.<zone>            TXT  "2"
<label>.zones.catalog.<zone>      PTR  mta-sts.<domain>

It is shown to whoever signs the question, and transferred; to others it is not there.
"""

import hashlib
from collections.abc import Mapping

from mailward.core.dns.wire import Type
from mailward.core.dns.zone import Authority, NodeSets, Record, Soa, Zone, make_zone, prepare

LABEL = "catalog"
_NO_SETS: NodeSets = {}


class Catalog:
    def __init__(self, own_zone: str, soa: Soa) -> None:
        """Raises ValueError."""
        self._name = f"{LABEL}.{own_zone}"
        self.zone: Zone = make_zone(
            self._name,
            soa,
            [
                # RFC 9432 §4.1: required, and of no meaning
                Record(self._name, Type.NS, "invalid.", 0),
                Record(f"version.{self._name}", Type.TXT, "2", 0),
            ],
        )
        self.authority = Authority([self.zone])
        self._members: dict[bytes, dict[bytes, NodeSets]] = {}

    def change(self, members: Mapping[bytes, str | None]) -> bool:
        """`members`: the zones, in wire form, that came or changed hands, with what tells one life of a zone from the
        next one; None: it is gone. False: all of that was so already.
        """
        names: dict[bytes, NodeSets] = {}
        for apex, life in members.items():
            fresh = {} if life is None else self._member(apex, life)
            held = self._members.pop(apex, {})
            if fresh:
                self._members[apex] = fresh
            if fresh != held:
                names |= dict.fromkeys(held, _NO_SETS) | fresh
        self.zone.put(names)
        return bool(names)

    def _member(self, apex: bytes, life: str) -> dict[bytes, NodeSets]:
        # RFC 9432 §5.4: another label, and secondaries begin anew with the zone. The token itself is its owner's secret
        digest = hashlib.sha256(life.encode() + b"\0" + apex).hexdigest()[:40]
        owner = f"{digest}.zones.{self._name}"
        return dict(prepare(self.zone.apex, [Record(owner, Type.PTR, apex, 0)]))
