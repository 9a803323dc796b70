import dns.message
import dns.rdatatype
import dns.zone
import pytest
from tests.core.dns.zones import sample_zone

from mailward.core.dns.wire import Type
from mailward.hosting.transfer import KeyInvalid, Question, parse_keys, transfer


def test_a_transfer_holds_each_record_once_between_two_soas() -> None:
    zone = sample_zone()
    question = Question(4711, Type.AXFR, zone.apex, b"", None, None)
    messages = [
        dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True) for wire in transfer(question, zone, 0)
    ]
    records = [rrset for message in messages for rrset in message.answer]
    assert records[0].rdtype == records[-1].rdtype == dns.rdatatype.SOA
    made = dns.zone.from_text(
        "\n".join(str(rrset) for rrset in records[:-1]), origin="sts.example.", relativize=False
    )
    assert sum(len(rdataset) for _, rdataset in made.iterate_rdatasets()) == len(records) - 1 == 21
    assert {str(name) for name in made} >= {"_mta-sts.abc.sts.example.", "twice.sts.example."}


@pytest.mark.parametrize(
    "text",
    ["", "name", "name:hmac-sha256", "name:hmac-md5:AAAA", "name:hmac-sha256:*", "a..b:hmac-sha256:AAAA"],
)
def test_a_bad_key_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        parse_keys([text])
    assert "AAAA" not in str(caught.value)
