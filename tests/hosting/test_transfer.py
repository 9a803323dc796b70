import struct

import dns.message
import dns.rdatatype
import dns.zone
import pytest
from tests.core.dns.zones import sample_zone

from mailward.core.dns.answer import Reply
from mailward.core.dns.nameserver import KeyInvalid
from mailward.core.dns.wire import Rcode, Type
from mailward.hosting.transfer import Question, Refused, parse_keys, read_question, transfer


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


LONG = b"\1a" * 126 + b"\0"
SHORT = b"\3sts\7example\0"
TO_QUESTION = b"\xc0\x0c"


def record(kind: int, data: bytes, owner: bytes = TO_QUESTION) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, 0, len(data)) + data


def soa(name: bytes) -> bytes:
    return record(Type.SOA, name + name + struct.pack("!IIIII", 7, 1, 1, 1, 1))


@pytest.mark.parametrize(
    ("name", "counts", "records"),
    [
        (LONG, (0, 0, 270), [record(Type.CNAME, TO_QUESTION)] * 270),  # 0.7 seconds to read
        (LONG, (0, 1, 0), [soa(TO_QUESTION)]),
        (SHORT, (0, 1, 0), [soa(LONG)]),
        (SHORT, (0, 2, 0), [soa(TO_QUESTION)] * 2),
        (SHORT, (1, 0, 0), [record(Type.A, bytes(4))]),
        (SHORT, (0, 0, 1), [record(Type.A, bytes(4))]),
        (SHORT, (0, 0, 2), [record(Type.OPT, b"", b"\0"), b"\0"]),
    ],
)
def test_a_question_that_is_costly_to_read_is_not_read(
    name: bytes, counts: tuple[int, int, int], records: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(dns.message, "from_wire")
    head = struct.pack("!HHHHHH", 1, 0, 1, *counts)
    reply = read_question(head + name + struct.pack("!HH", Type.IXFR, 1) + b"".join(records), {}, 0)
    assert isinstance(reply, Reply)
    assert reply.wire[3] & 0x0F == Rcode.FORMERR


def test_what_secondaries_ask_is_read() -> None:
    head = struct.pack("!HHHHHH", 1, 0, 1, 0, 1, 1)
    opt = record(Type.OPT, b"", b"\0")
    question = read_question(head + SHORT + struct.pack("!HH", Type.IXFR, 1) + soa(TO_QUESTION) + opt, {}, 0)
    assert isinstance(question, Question)
    assert (question.type, question.serial) == (Type.IXFR, 7)


def test_a_refusal_is_no_longer_than_the_question() -> None:
    """The key's name, a pointer to a long one, would be written out."""
    name = b"\x3f" + b"a" * 63 + SHORT
    data = b"\x0bhmac-sha256\0" + bytes(6) + struct.pack("!HHHHH", 300, 0, 1, 0, 0)
    signature = TO_QUESTION + struct.pack("!HHIH", Type.TSIG, 255, 0, len(data)) + data
    head = struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 1)
    query = head + name + struct.pack("!HH", Type.SOA, 1) + signature
    refused = read_question(query, {}, 0)
    assert isinstance(refused, Refused)
    assert refused.reply.wire == head[:2] + bytes((0x80, Rcode.NOTAUTH)) + bytes(8)
