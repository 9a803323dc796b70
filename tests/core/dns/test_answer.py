"""What our nameserver says, as dnspython reads it."""

from collections.abc import Callable, Sequence
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import pytest
from tests.core.dns.zones import sample_authority

from mailward.core.dns.answer import UDP_PAYLOAD, Reply, Unusual, answer, truncate

AUTHORITY = sample_authority()
SOA = "sts.example. 60 IN SOA ns1.sts.example. host\\.master.sts.example. 7 900 300 1209600 60"


def ask(name: str, rdtype: str = "TXT", *, udp: bool = True, **options: Any) -> dns.message.Message:
    """`options`: of dns.message.make_query."""
    query = dns.message.make_query(name, rdtype, **options)
    reply = answer(query.to_wire(), AUTHORITY, udp=udp)
    assert isinstance(reply, Reply)
    response = dns.message.from_wire(reply.wire)
    assert query.is_response(response) or response.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP)
    return response


def lines(section: Sequence[object]) -> list[str]:
    return [line for rrset in section for line in str(rrset).splitlines()]


@pytest.mark.parametrize(
    ("name", "rdtype", "expected"),
    [
        ("_mta-sts.abc.sts.example", "TXT", ['_mta-sts.abc.sts.example. 300 IN TXT "v=STSv1; id=1;"']),
        ("ns1.sts.example", "AAAA", ["ns1.sts.example. 300 IN AAAA 2001:db8::1"]),
        (
            "sts.example",
            "NS",
            ["sts.example. 300 IN NS ns1.sts.example.", "sts.example. 300 IN NS ns2.elsewhere.example."],
        ),
        (  # RFC 1034 §4.3.2: the chain, and what stands at its end
            "twice.sts.example",
            "A",
            [
                "twice.sts.example. 300 IN CNAME policy.sts.example.",
                "policy.sts.example. 300 IN CNAME ns1.sts.example.",
                "ns1.sts.example. 300 IN A 192.0.2.1",
            ],
        ),
        ("twice.sts.example", "CNAME", ["twice.sts.example. 300 IN CNAME policy.sts.example."]),
        ("policy.sts.example", "MX", ["policy.sts.example. 300 IN CNAME ns1.sts.example."]),
        ("away.sts.example", "A", ["away.sts.example. 300 IN CNAME web.elsewhere.example."]),
        ("long.sts.example", "TXT", [f'long.sts.example. 300 IN TXT "{"x" * 255}" "{"x" * 45}"']),
        ("policy.sts.example", "ANY", ["policy.sts.example. 300 IN CNAME ns1.sts.example."]),
        ("ns1.sts.example", "ANY", ['ns1.sts.example. 3600 IN HINFO "RFC8482" ""']),
    ],
)
def test_a_name_with_data_is_answered_with_authority(name: str, rdtype: str, expected: list[str]) -> None:
    response = ask(name, rdtype)
    assert response.rcode() == dns.rcode.NOERROR
    assert response.flags & (dns.flags.AA | dns.flags.RA | dns.flags.RD) == dns.flags.AA | dns.flags.RD
    assert lines(response.answer) == expected
    assert response.authority == response.additional == []


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode"),
    [
        ("nothing.sts.example", "TXT", dns.rcode.NXDOMAIN),
        ("a.b.c.sts.example", "A", dns.rcode.NXDOMAIN),
        ("_mta-sts.abc.sts.example", "A", dns.rcode.NOERROR),
        ("abc.sts.example", "TXT", dns.rcode.NOERROR),  # only has names below it: RFC 8020 §2
        ("abc.sts.example", "ANY", dns.rcode.NOERROR),
    ],
)
def test_a_name_without_data_is_denied_with_the_soa(name: str, rdtype: str, rcode: dns.rcode.Rcode) -> None:
    response = ask(name, rdtype)
    assert response.rcode() == rcode
    assert response.answer == []
    assert lines(response.authority) == [SOA]
    assert response.flags & dns.flags.AA


def test_a_zone_below_another_name_is_its_own() -> None:
    response = ask("x.mta-sts.customer.example", "A")
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert str(response.authority[0].name) == "mta-sts.customer.example."


@pytest.mark.parametrize("name", ["example", "elsewhere.example", ".", "sts.example.org", "xsts.example"])
def test_what_is_not_ours_is_refused_without_a_word_more(name: str) -> None:
    response = ask(name, "A", use_edns=0)
    assert response.rcode() == dns.rcode.REFUSED
    assert not response.flags & dns.flags.AA
    assert response.answer == response.authority == []


def test_the_name_comes_back_in_the_letters_that_it_was_asked_in() -> None:
    response = ask("_MTA-stS.aBc.STS.exaMPLE")
    assert str(response.question[0].name) == "_MTA-stS.aBc.STS.exaMPLE."
    assert len(response.answer) == 1


def test_edns_is_answered_with_edns_and_only_then() -> None:
    assert ask("sts.example", "SOA").edns == -1
    response = ask("sts.example", "SOA", use_edns=0, payload=4096, want_dnssec=True)
    assert (response.edns, response.payload) == (0, UDP_PAYLOAD)
    assert response.ednsflags & dns.flags.DO
    assert ask("nope.sts.example", "SOA", use_edns=0).edns == 0


def test_an_edns_option_is_passed_over() -> None:
    option = dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"anything")
    assert ask("sts.example", "SOA", use_edns=0, options=[option]).rcode() == dns.rcode.NOERROR


def test_another_version_of_edns_is_told_which_we_speak() -> None:
    response = ask("sts.example", "SOA", use_edns=1)
    assert (response.rcode(), response.edns) == (dns.rcode.BADVERS, 0)


@pytest.mark.parametrize("payload", [None, 512, 1232, 4096])
def test_by_udp_what_is_too_long_is_shortened(payload: int | None) -> None:
    response = ask("many.sts.example", use_edns=payload is not None, payload=payload)
    assert response.flags & dns.flags.TC
    assert response.answer == []


def test_by_tcp_all_of_it_is_sent() -> None:
    response = ask("many.sts.example", udp=False)
    assert len(response.answer[0]) == 10
    assert not response.flags & dns.flags.TC


def test_with_room_for_it_a_long_text_is_sent_by_udp() -> None:
    assert len(ask("long.sts.example", use_edns=0, payload=1232).answer) == 1


def test_a_limited_reply_says_to_come_by_tcp() -> None:
    query = dns.message.make_query("long.sts.example", "TXT", use_edns=0, payload=1232)
    reply = answer(query.to_wire(), AUTHORITY, udp=True)
    assert isinstance(reply, Reply)
    response = dns.message.from_wire(truncate(reply))
    assert query.is_response(response)
    assert response.flags & dns.flags.TC
    assert response.answer == []
    assert response.edns == 0


def test_a_limited_refusal_of_what_could_not_be_read_is_a_sound_message() -> None:
    reply = answer(dns.message.make_query("sts.example", "SOA").to_wire()[:-1], AUTHORITY, udp=True)
    assert isinstance(reply, Reply)
    response = dns.message.from_wire(truncate(reply))
    assert response.flags & dns.flags.TC
    assert response.question == []


@pytest.mark.parametrize(
    ("change", "rcode"),
    [
        (lambda wire: wire[:-1], dns.rcode.FORMERR),
        (lambda wire: wire + b"\0", dns.rcode.FORMERR),
        (lambda wire: wire[:12] + b"\xc0\x0c\0\x10\0\1", dns.rcode.FORMERR),
        (lambda wire: wire[:4] + b"\0\2" + wire[6:], dns.rcode.FORMERR),
        (lambda wire: wire[:4] + b"\0\0" + wire[6:12], dns.rcode.FORMERR),
        (lambda wire: wire[:2] + b"\x20" + wire[3:], dns.rcode.NOTIMP),  # opcode 4: NOTIFY
        (lambda wire: wire[:2] + b"\x28" + wire[3:], dns.rcode.NOTIMP),  # opcode 5: UPDATE
        (lambda wire: wire[:-2] + b"\0\3", dns.rcode.REFUSED),  # class CH
        (lambda wire: wire[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0" + wire[-4:], dns.rcode.FORMERR),
    ],
)
def test_what_is_no_question_to_us_costs_a_header(
    change: Callable[[bytes], bytes], rcode: dns.rcode.Rcode
) -> None:
    wire = dns.message.make_query("sts.example", "SOA").to_wire()
    hostile = change(wire)
    reply = answer(hostile, AUTHORITY, udp=True)
    assert isinstance(reply, Reply)
    assert reply.wire[:2] == wire[:2]
    assert reply.wire[3] & 0x0F == rcode
    assert len(reply.wire) <= len(hostile)


@pytest.mark.parametrize("wire", [b"", b"\0" * 11, b"\0\1\x80" + b"\0" * 9])
def test_a_response_or_less_than_a_header_is_not_answered(wire: bytes) -> None:
    assert answer(wire, AUTHORITY, udp=True) is None


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
def test_a_transfer_is_left_to_others(rdtype: str) -> None:
    wire = dns.message.make_query("sts.example", rdtype).to_wire()
    assert isinstance(answer(wire, AUTHORITY, udp=True), Unusual)
