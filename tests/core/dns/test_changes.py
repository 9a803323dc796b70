"""A zone that was changed name by name is the zone that would be made anew."""

import random

import pytest
from tests.core.dns.zones import RECORDS, SOA, sample_authority

from mailward.core.dns.wire import Type, encode_name
from mailward.core.dns.zone import Record, Soa, Zone, make_zone, prepare

APEX = "sts.example"
LABELS = ("a", "b", "c", "d")
DATA = (
    (Type.TXT, "one"),
    (Type.TXT, "two"),
    (Type.A, "192.0.2.7"),
    (Type.CNAME, "elsewhere.example"),
    (Type.CNAME, "target.sts.example"),
)


def records_of(state: dict[str, list[Record]]) -> list[Record]:
    return [record for records in state.values() for record in records]


@pytest.mark.parametrize("seed", range(20))
def test_many_changes_leave_what_one_making_makes(seed: int) -> None:
    chance = random.Random(seed)
    state = {"target.sts.example": [Record("target.sts.example", Type.A, "192.0.2.1")]}
    zone = make_zone(APEX, SOA, records_of(state))
    for _ in range(200):
        name = ".".join(chance.choices(LABELS, k=chance.randint(1, 3)))
        owner = chance.choice((f"{name}.{APEX}", f"{name}.{APEX}", "target.sts.example"))
        kind, data = chance.choice(DATA[:3] if owner.startswith("target") else DATA)
        state[owner] = [Record(owner, kind, data)] if chance.random() < 0.6 else []
        zone.put({encode_name(owner): {}} | prepare(zone.apex, state[owner]))
    anew = make_zone(APEX, SOA, records_of(state))
    assert zone.nodes == anew.nodes
    assert sorted(zone.records()) == sorted(anew.records())


def test_a_transfer_that_is_under_way_sees_the_zone_of_its_beginning() -> None:
    zone = make_zone(APEX, SOA, RECORDS)
    whole = list(zone.records())
    transfer = zone.records()
    first = next(transfer)
    zone.put({encode_name("long.sts.example"): {}})
    zone.set_soa(Soa("ns1.sts.example", "host.master@sts.example", serial=8))
    assert [first, *transfer] == whole
    assert len(list(zone.records())) == len(whole) - 1


def test_a_name_above_goes_with_the_last_one_below_it() -> None:
    zone = Zone(APEX, SOA)
    names = [encode_name(f"{label}.token.{APEX}") for label in ("_mta-sts", "_tlsrpt")]
    texts = {Type.TXT.value: b"\0\1" + b"\xc0\x0c" + b"\0\x10\0\1\0\0\0\1\0\2\1x"}
    zone.put(dict.fromkeys(names, texts))
    above = encode_name(f"token.{APEX}")
    zone.put({names[0]: {}})
    assert zone.nodes[above] == {}
    zone.put({names[1]: {}})
    assert set(zone.nodes) == {zone.apex}


def test_zones_do_not_stand_below_each_other() -> None:
    authority = sample_authority()
    with pytest.raises(ValueError, match="is below"):
        authority.add(Zone("below.sts.example", SOA))
