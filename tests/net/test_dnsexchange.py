"""Responses that are made to be costly."""

import struct
import threading

import dns.message
import pytest
from tests.fakes.dns import FakeDns

from mailward.net import dnsexchange
from mailward.net.resolver import Answer, Resolver, Status

LONG = b"\1a" * 126 + b"\0"
ALIAS = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 0, 2) + b"\xc0\x0c"


def response(records: int) -> bytes:
    """Each of them takes dnspython milliseconds."""
    head = struct.pack("!HHHHHH", 1, 0x8400, 1, records, 0, 0)
    return head + LONG + struct.pack("!HH", 16, 1) + ALIAS * records


async def test_a_message_of_thousands_of_records_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(dns.message, "from_wire")
    for wire in (response(501), response(4_600), b"\0" * 11):
        with pytest.raises(ValueError, match=r"records|short"):
            await dnsexchange.read_message(wire)


async def test_a_large_message_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    read = dns.message.from_wire

    def noting(wire: bytes) -> dns.message.Message:
        threads.append(threading.get_ident())
        return read(wire)

    monkeypatch.setattr(dns.message, "from_wire", noting)
    for records in (50, 51):
        assert (await dnsexchange.read_message(response(records))).answer
    assert threads[0] == threading.get_ident() != threads[1]


@pytest.mark.parametrize("ask", ["lookup", "lookup_authoritative"])
async def test_a_server_that_answers_with_too_much_has_given_no_answer(ask: str) -> None:
    dns_server = FakeDns()
    dns_server.set("example.test", "MX", *(f"{number} mx.example.test." for number in range(600)))
    async with dns_server:
        resolver = Resolver([dns_server.address], [dns_server.address])
        answer: Answer[str] = await getattr(resolver, ask)("example.test", "MX")
    assert (answer.status, "a message of 601 records" in answer.reason) == (Status.FAILED, True)
