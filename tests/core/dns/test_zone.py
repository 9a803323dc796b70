import pytest
from tests.core.dns.zones import SOA

from mailward.core.dns.wire import Type, decode_name, encode_name
from mailward.core.dns.zone import Record, make_zone


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        ([Record("a.other.example", Type.A, "192.0.2.1")], "not in the zone"),
        ([Record("xsts.example", Type.A, "192.0.2.1")], "not in the zone"),
        ([Record("a.sts.example", Type.A, "2001:db8::1")], "no A address"),
        ([Record("a.sts.example", Type.A, "mail")], "does not appear"),
        ([Record("a..sts.example", Type.A, "192.0.2.1")], "empty or too long"),
        ([Record(f"{'a' * 64}.sts.example", Type.A, "192.0.2.1")], "empty or too long"),
        ([Record(f"{'a.' * 126}sts.example", Type.A, "192.0.2.1")], "255"),
        (
            [Record("a.sts.example", Type.CNAME, "b.sts.example"), Record("a.sts.example", Type.TXT, "x")],
            "beside",
        ),
        ([Record("a.sts.example", Type.CNAME, "b"), Record("a.sts.example", Type.CNAME, "c")], "beside"),
        ([Record("a.sts.example", Type.CNAME, "a.sts.example")], "do not end"),
        ([Record("sts.example", Type.CNAME, "a.example")], "beside"),
        ([Record("a.sts.example", Type.TXT, "ü")], "ascii"),
    ],
)
def test_what_cannot_be_served_makes_no_zone(records: list[Record], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make_zone("sts.example", SOA, records)


def test_names_go_to_the_wire_and_back() -> None:
    assert decode_name(encode_name("_MTA-sts.Example")) == "_mta-sts.example."
    assert encode_name(".") == b"\0"
