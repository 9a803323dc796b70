"""Secondaries are told of changes, over real sockets: who refuses is no one who was told."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.tsig
import pytest

from mailward.core.dns.nameserver import Secondary, parse_secondary
from mailward.core.dns.wire import encode_name
from mailward.hosting import secondaries as module
from mailward.hosting.secondaries import Secondaries
from mailward.hosting.transfer import parse_keys

APEX = encode_name("sts.example")
KEYS = parse_keys(
    [
        f"{name}:hmac-sha256:{text}"
        for name, text in (("ns2", "MDEyMzQ1Njc4OWFiY2RlZg=="), ("ns3", "ZmVkY2JhOTg3NjU0MzIxMA=="))
    ]
)


class Peer(asyncio.DatagramProtocol):
    """A secondary with a few answers to NOTIFY in a row, the last one for ever; None: silence. `forged`: each comes
    before that of somebody who accepts it, and has no key.
    """

    def __init__(self, rcodes: list[dns.rcode.Rcode | None], key: str = "", *, forged: str = "") -> None:
        self.rcodes = rcodes
        self.forged = forged
        self.keys = {name: each for name, each in KEYS.items() if not key or name == dns.name.from_text(key)}
        self.asked = 0
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of datagrams

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        rcode = self.rcodes[min(self.asked, len(self.rcodes) - 1)]
        self.asked += 1
        if self.forged:
            response = answer_to(data)
            if self.forged == "wrong":
                response.use_tsig({name: dns.tsig.Key(name, b"x" * 32) for name in KEYS})
            self.transport.sendto(response.to_wire(), addr)
        if rcode is None:
            return
        response = answer_to(data)
        try:
            question = dns.message.from_wire(data, keyring=self.keys)
            response.use_tsig(question.keyring)
            response.request_mac = question.mac or b""
        except dns.message.UnknownTSIGKey:
            rcode = dns.rcode.NOTAUTH
            response.use_tsig(KEYS, dns.name.from_text("ns2"), tsig_error=17)
        response.set_rcode(rcode)
        self.transport.sendto(response.to_wire(), addr)


def answer_to(data: bytes) -> dns.message.Message:
    response = dns.message.Message(int.from_bytes(data[:2], "big"))
    response.flags = dns.flags.QR | dns.flags.AA
    response.set_opcode(dns.opcode.NOTIFY)
    return response


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: peer, local_addr=("127.0.0.1", 0))
    yield int(transport.get_extra_info("sockname")[1])
    transport.close()


async def tell(peer: Peer, key: str = "") -> Secondaries:
    async with listening(peer) as port:
        secondaries = Secondaries([Secondary("127.0.0.1", port, key)], KEYS)
        secondaries.tell(APEX)
        async with asyncio.timeout(20):
            await next(iter(secondaries._telling.values()))
    return secondaries


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_SECONDS", 0.02)


async def test_who_refuses_is_told_again_and_logged_with_what_it_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Peer([dns.rcode.REFUSED])
    with caplog.at_level(logging.WARNING):
        secondaries = await tell(peer)
    assert (secondaries.told, peer.asked) == ({"refused": 1}, module.ATTEMPTS)
    said = [(each.message, each.__dict__["rcode"]) for each in caplog.records]
    assert said == [("notify-refused", "REFUSED"), ("secondary-not-told", "REFUSED")]
    told = caplog.records[0].__dict__
    assert (told["zone"], told["secondary"].partition(":")[0]) == ("sts.example", "127.0.0.1")


async def test_who_refuses_for_a_while_has_been_told_in_the_end() -> None:
    peer = Peer([dns.rcode.SERVFAIL, None, dns.rcode.NOERROR])
    assert (await tell(peer)).told == {"answered": 1}
    assert peer.asked == 3


@pytest.mark.parametrize(
    ("forged", "said"), [("no", "without signature"), ("wrong", "with a wrong signature")]
)
async def test_nobody_without_the_key_ends_the_telling(
    forged: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 8945 section 5.3. Else one packet, forged, keeps a secondary from a change until the SOA's refresh."""
    peer = Peer([None, None, dns.rcode.NOERROR], forged=forged)
    with caplog.at_level(logging.WARNING):
        assert (await tell(peer)).told == {"answered": 1}
    assert peer.asked == 3
    assert [each.__dict__["rcode"] for each in caplog.records] == [f"an answer {said}"]


async def test_silence_is_told_as_silence() -> None:
    assert (await tell(Peer([None]))).told == {"silent": 1}


async def test_each_is_told_with_its_own_key(caplog: pytest.LogCaptureFixture) -> None:
    assert (await tell(Peer([dns.rcode.NOERROR], "ns3"), "ns3")).told == {"answered": 1}
    assert (await tell(Peer([dns.rcode.NOERROR], "ns2"))).told == {"answered": 1}
    with caplog.at_level(logging.WARNING):
        assert (await tell(Peer([dns.rcode.NOERROR], "ns3"))).told == {"refused": 1}
    assert caplog.records[0].__dict__["rcode"] == "NOTAUTH, BADKEY"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.3", Secondary("192.0.2.3")),
        ("192.0.2.3=ns3", Secondary("192.0.2.3", 53, "ns3")),
        ("192.0.2.3:5300=NS3.Example.", Secondary("192.0.2.3", 5300, "ns3.example")),
        ("2001:db8::3=ns3", Secondary("2001:db8::3", 53, "ns3")),
        ("[2001:db8::3]:5300=ns3", Secondary("2001:db8::3", 5300, "ns3")),
    ],
)
def test_a_secondary_is_read(text: str, expected: Secondary) -> None:
    assert parse_secondary(text) == expected


@pytest.mark.parametrize("text", ["", "ns2.example=a", "192.0.2.3=", "192.0.2.3:0", "=ns3"])
def test_what_is_no_secondary(text: str) -> None:
    with pytest.raises(ValueError, match=r"no server|names no key"):
        parse_secondary(text)
