"""The nameserver over real sockets, asked by dnspython; and a real NSD that takes the zone from it."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from ipaddress import ip_network
from itertools import pairwise
from typing import Any, cast

import dns.asyncquery
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.zone
import pytest
import uvloop
from tests.core.dns.zones import RECORDS, sample_authority

from mailward.core.dns.ratelimit import RateLimiter
from mailward.core.dns.wire import Type
from mailward.core.dns.zone import Authority, Record, Soa, make_zone
from mailward.hosting import authdns
from mailward.hosting.authdns import (
    BATCH,
    TCP_CONNECTIONS,
    TCP_CONNECTIONS_AN_ADDRESS,
    TCP_WAITING_BYTES,
    Nameserver,
    TcpConnection,
    TransferAccess,
)
from mailward.hosting.dnsplaces import Places
from mailward.hosting.transfer import parse_keys
from mailward.net import clock
from mailward.net.listening import open_datagrams, open_stream, place_of

KEY_TEXT = "secondary.:hmac-sha256:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
KEYS = parse_keys([KEY_TEXT])
KEY = next(iter(KEYS.values()))
QUESTION = dns.message.make_query("_mta-sts.abc.sts.example", "TXT")


@pytest.fixture
async def server() -> AsyncIterator[tuple[Nameserver, int]]:
    nameserver = Nameserver(RateLimiter(per_topic=50, per_address=0), TransferAccess(KEYS))
    nameserver.authority = sample_authority()
    port = await nameserver.listen(["127.0.0.1"], 0)
    yield nameserver, port
    await nameserver.close()


async def test_udp_and_tcp_give_the_same_answer(server: tuple[Nameserver, int]) -> None:
    _, port = server
    by_udp = await dns.asyncquery.udp(QUESTION, "127.0.0.1", 5, port)
    by_tcp = await dns.asyncquery.tcp(QUESTION, "127.0.0.1", 5, port)
    assert by_udp.answer == by_tcp.answer != []


async def test_what_is_too_long_for_udp_comes_by_tcp(server: tuple[Nameserver, int]) -> None:
    _, port = server
    query = dns.message.make_query("many.sts.example", "TXT")
    response, used_tcp = await dns.asyncquery.udp_with_fallback(query, "127.0.0.1", 5, port)
    assert used_tcp
    assert len(response.answer[0]) == 10


async def test_a_flood_is_cut_and_asked_to_come_by_tcp(server: tuple[Nameserver, int]) -> None:
    nameserver, port = server
    wire, loop = QUESTION.to_wire(), asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect(("127.0.0.1", port))
        asker.setblocking(False)
        for _ in range(400):
            await loop.sock_sendall(asker, wire)
        got: list[dns.message.Message] = []
        while len(got) < nameserver.replies or not got:
            got.append(dns.message.from_wire(await loop.sock_recv(asker, 4096)))
    truncated = sum(bool(message.flags & dns.flags.TC) for message in got)
    assert nameserver.limiter.limited > 0
    assert 0 < truncated < len(got) < 400


async def test_several_questions_come_down_one_connection(server: tuple[Nameserver, int]) -> None:
    _, port = server
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wire = QUESTION.to_wire(prepend_length=True)
    writer.write(wire[:1])
    await writer.drain()
    await asyncio.sleep(0)
    writer.write(wire[1:] + wire + wire[:5])
    for _ in range(2):
        length = int.from_bytes(await reader.readexactly(2), "big")
        assert dns.message.from_wire(await reader.readexactly(length)).answer
    writer.close()


@pytest.mark.parametrize("hostile", [b"\xff\xff", b"\x00\x03abc", b"\x00\x0c" + b"\0\0\x80" + b"\0" * 9])
async def test_nonsense_by_tcp_ends_the_connection(server: tuple[Nameserver, int], hostile: bytes) -> None:
    _, port = server
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(hostile)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1), 10)
    writer.close()


async def test_who_asks_and_does_not_read_costs_little_and_gets_every_answer(
    server: tuple[Nameserver, int],
) -> None:
    nameserver, port = server
    count = 9_000
    wire = dns.message.make_query("many.sts.example", "TXT").to_wire(prepend_length=True)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(wire * count)
    most = 0
    for _ in range(50):
        await asyncio.sleep(0.01)
        (connection,) = nameserver._connections
        most = max(most, connection._transport.get_write_buffer_size())
    assert 0 < most < 2 * TCP_WAITING_BYTES
    for _ in range(count):
        length = int.from_bytes(await reader.readexactly(2), "big")
        await reader.readexactly(length)
    writer.close()


async def test_who_asks_ahead_without_end_leaves_others_their_turn(server: tuple[Nameserver, int]) -> None:
    nameserver, port = server
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wires = [dns.message.make_query("a.sts.example", "A", id=number).to_wire() for number in range(1_000)]
    writer.write(b"".join(len(wire).to_bytes(2, "big") + wire for wire in wires))
    turns = [0]
    while turns[-1] < 1_000:
        await asyncio.sleep(0)
        turns.append(sum(nameserver.counts.by_tcp))
    assert max(after - before for before, after in pairwise(turns)) <= BATCH
    answers = [await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")) for _ in wires]
    assert [answer[:2] for answer in answers] == [wire[:2] for wire in wires]
    writer.close()


async def test_one_address_has_a_bounded_number_of_connections(server: tuple[Nameserver, int]) -> None:
    nameserver, port = server
    writers = []
    for _ in range(TCP_CONNECTIONS_AN_ADDRESS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(QUESTION.to_wire(prepend_length=True))
        await reader.readexactly(2)
        writers.append(writer)
    assert nameserver.places.count("127.0.0.1") == TCP_CONNECTIONS_AN_ADDRESS
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1), 10)
    for each in (*writers, writer):
        each.close()


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask_by(connection: Connection) -> None:
    """Raises IncompleteReadError or ConnectionError where it is over."""
    reader, writer = connection
    writer.write(QUESTION.to_wire(prepend_length=True))
    await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))


async def hold(port: int, source: str) -> Connection:
    """A connection that has asked something and stays open."""
    connection = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        await ask_by(connection)
    except (asyncio.IncompleteReadError, ConnectionError):
        connection[1].close()
        raise
    return connection


async def test_a_crowd_that_holds_every_place_shuts_nobody_out(server: tuple[Nameserver, int]) -> None:
    nameserver, port = server
    crowd = [f"127.0.3.{number}" for number in range(1, 26)]
    held = [await hold(port, source) for source in crowd for _ in range(TCP_CONNECTIONS_AN_ADDRESS)]
    assert nameserver.connections == TCP_CONNECTIONS
    mine = await hold(port, "127.0.4.1")
    assert nameserver.connections == TCP_CONNECTIONS
    assert (await dns.asyncquery.tcp(QUESTION, "127.0.0.1", 5, port)).answer
    assert len((await asyncio.to_thread(_transfer, port, KEY)).nodes) >= 8
    held += [await hold(port, f"127.0.3.{number}") for number in range(101, 110)]
    await ask_by(mine)  # who has one place keeps it
    gone = [each for each in held if each[0].at_eof() or each[0].exception() is not None]
    assert len(gone) >= 8, "the crowd displaces its own"
    for _, writer in (*held, mine):
        writer.close()


async def test_places_for_secondaries_are_taken_by_nobody_else(
    server: tuple[Nameserver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    nameserver, port = server
    nameserver.access = TransferAccess(KEYS, [ip_network("127.0.6.0/24")], ["127.0.5.1"])
    nameserver.places = Places(0, 0)
    for expected in ("127.0.5.1", "127.0.6.7"):
        _, writer = await hold(port, expected)
        writer.close()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await hold(port, "127.0.5.2")
    assert nameserver.access.expects("::ffff:127.0.5.1")


@pytest.mark.parametrize(("seconds", "questions"), [(0.2, 10_000), (60.0, 3)])
async def test_a_connection_ends_after_a_while_whatever_it_asks(
    server: tuple[Nameserver, int], monkeypatch: pytest.MonkeyPatch, seconds: float, questions: int
) -> None:
    monkeypatch.setattr(authdns, "TCP_LIFE_SECONDS", seconds)
    monkeypatch.setattr(authdns, "TCP_QUESTIONS", questions)
    connection = await asyncio.open_connection("127.0.0.1", server[1])
    answered = 0
    async with asyncio.timeout(10):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await ask_by(connection)
                answered += 1
    assert answered == questions if seconds > 1 else answered > 3
    connection[1].close()


async def test_a_transfer_outlives_what_ends_other_connections(
    server: tuple[Nameserver, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is slow here: of a zone that does not fit into the buffers on the way, and is read with pauses."""
    monkeypatch.setattr(authdns, "TCP_LIFE_SECONDS", 0.1)
    nameserver, port = server
    soa = Soa("ns1.sts.example", "hostmaster@sts.example", serial=8)
    many = [Record(f"t{number}.sts.example", Type.TXT, 200 * "x") for number in range(60_000)]
    nameserver.authority = Authority([make_zone("sts.example", soa, [*RECORDS, *many])])
    nameserver.places = Places(1, TCP_CONNECTIONS_AN_ADDRESS)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    query = dns.message.make_query("sts.example", "AXFR")
    query.use_tsig(KEY)
    writer.write(query.to_wire(prepend_length=True))
    await reader.readexactly(2)
    await asyncio.sleep(0.2)
    assert nameserver.transfers == 1
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await hold(port, "127.0.4.1")
    while await reader.read(1_000_000):
        pass
    assert nameserver.counts.transfers == {"sent": 1}
    writer.close()


async def test_the_addresses_of_one_guest_count_as_one(server: tuple[Nameserver, int]) -> None:
    class Transport:
        def __init__(self, address: str) -> None:
            self.address, self.is_open = address, True

        def get_extra_info(self, _name: str) -> tuple[str, int, int, int]:
            return self.address, 1, 0, 0

        def set_write_buffer_limits(self, high: int) -> None:
            pass

        def abort(self) -> None:
            self.is_open = False

    def come(address: str) -> bool:
        transport = Transport(address)
        connection = TcpConnection(server[0], asyncio.get_running_loop())
        connection.connection_made(cast("asyncio.Transport", transport))
        return transport.is_open

    assert all(come(f"2001:db8::{number:x}") for number in range(1, TCP_CONNECTIONS_AN_ADDRESS + 1))
    assert not come("2001:db8::ffff")
    assert come("2001:db8:0:1::1")


async def test_a_signed_question_gets_a_signed_answer(server: tuple[Nameserver, int]) -> None:
    _, port = server
    query = dns.message.make_query("sts.example", "SOA", use_edns=0)
    query.use_tsig(KEY)
    response = await dns.asyncquery.udp(query, "127.0.0.1", 5, port)
    assert response.had_tsig
    assert response.answer[0][0].serial == 7


WRONG = {
    "BADSIG": (dns.tsig.Key(KEY.name, b"another secret, as long", "hmac-sha256."), dns.tsig.PeerBadSignature),
    "BADKEY": (dns.tsig.Key("nobody.", KEY.secret, "hmac-sha256."), dns.tsig.PeerBadKey),
    "BADKEY, for its algorithm": (dns.tsig.Key(KEY.name, KEY.secret, "hmac-sha512."), dns.tsig.PeerBadKey),
    "BADTIME": (KEY, dns.tsig.PeerBadTime),
}


@pytest.mark.parametrize("ask", [dns.asyncquery.udp, dns.asyncquery.tcp])
@pytest.mark.parametrize("fault", WRONG)
async def test_what_is_wrong_with_a_signature_is_told_as_secondaries_log_it(
    server: tuple[Nameserver, int], fault: str, ask: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 8945 section 5.2."""
    _, port = server
    key, told = WRONG[fault]
    query = dns.message.make_query("StS.example", "AXFR", use_edns=0)
    query.use_tsig(key)
    ahead = timedelta(minutes=6) if fault == "BADTIME" else timedelta()
    with clock.stepped(ahead), pytest.raises(told), caplog.at_level(logging.WARNING):
        await ask(query, "127.0.0.1", 5, port)
    if ask is dns.asyncquery.tcp:
        said = caplog.records[0].__dict__
        assert (said["msg"], said["reason"]) == (
            "transfer-refused",
            f"{fault[:7].strip(',')} of {key.name.to_text(omit_final_dot=True)}",
        )


async def test_a_wrong_signature_of_a_secondary_is_logged_once_a_minute_by_udp(
    server: tuple[Nameserver, int], caplog: pytest.LogCaptureFixture
) -> None:
    """BIND asks for the SOA so, and comes no further. Anybody may be the sender."""
    nameserver, port = server
    query = dns.message.make_query("sts.example", "SOA", use_edns=0)
    query.use_tsig(WRONG["BADKEY"][0])
    for secondaries, count in (((), 0), (("127.0.0.1",), 1)):
        nameserver.access = TransferAccess(KEYS, secondaries=secondaries)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                with pytest.raises(dns.tsig.PeerBadKey):
                    await dns.asyncquery.udp(query, "127.0.0.1", 5, port)
        assert [each.__dict__["reason"] for each in caplog.records] == ["BADKEY of nobody"] * count


async def test_an_unsigned_answer_to_a_wrong_signature_is_no_longer_than_the_question(
    server: tuple[Nameserver, int],
) -> None:
    """Whoever forges the sender's address gains nothing by it."""
    _, port = server
    query = dns.message.make_query("sts.example", "SOA")
    query.use_tsig(WRONG["BADKEY"][0])
    asked = query.to_wire()
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        await loop.sock_sendto(asker, asked, ("127.0.0.1", port))
        async with asyncio.timeout(5):
            reply = await loop.sock_recv(asker, 4096)
    response = dns.message.from_wire(reply, keyring=False)
    assert (response.rcode(), response.question) == (dns.rcode.NOTAUTH, query.question)
    assert len(reply) < len(asked)


def _transfer(port: int, key: dns.tsig.Key | None) -> dns.zone.Zone:
    zone = dns.zone.Zone("sts.example")
    query = dns.message.make_query("sts.example", "AXFR")
    if key is not None:
        query.use_tsig(key)
    dns.query.inbound_xfr("127.0.0.1", zone, query, port=port, timeout=10)
    return zone


async def test_the_whole_zone_is_for_who_has_the_key(server: tuple[Nameserver, int]) -> None:
    _, port = server
    zone = await asyncio.to_thread(_transfer, port, KEY)
    assert zone.find_rdataset("_mta-sts.abc", "TXT")[0].strings == (b"v=STSv1; id=1;",)
    with pytest.raises(dns.query.TransferError, match="REFUSED"):
        await asyncio.to_thread(_transfer, port, None)


async def test_the_whole_zone_is_for_the_networks_that_may(server: tuple[Nameserver, int]) -> None:
    nameserver, port = server
    nameserver.access = TransferAccess({}, [ip_network("127.0.0.0/8"), ip_network("::1")])
    zone = await asyncio.to_thread(_transfer, port, None)
    assert len(zone.nodes) >= 8


async def test_a_big_zone_is_transferred_in_many_signed_messages(server: tuple[Nameserver, int]) -> None:
    nameserver, port = server
    soa = Soa("ns1.sts.example", "hostmaster@sts.example", serial=8)
    many = [
        Record(f"_mta-sts.t{number}.sts.example", Type.TXT, f"v=STSv1; id={number};")
        for number in range(3000)
    ]
    nameserver.authority = Authority([make_zone("sts.example", soa, [*RECORDS, *many])])
    zone = await asyncio.to_thread(_transfer, port, KEY)
    assert len(zone.nodes) > 3000


def test_the_loop_of_the_real_process_serves_as_well() -> None:
    async def ask() -> dns.message.Message:
        nameserver = Nameserver(RateLimiter(per_topic=0, per_address=0), TransferAccess(KEYS))
        nameserver.authority = sample_authority()
        port = await nameserver.listen(["127.0.0.1"], 0)
        try:
            await dns.asyncquery.udp(QUESTION, "127.0.0.1", 5, port)
            return await dns.asyncquery.tcp(QUESTION, "127.0.0.1", 5, port)
        finally:
            await nameserver.close()

    assert uvloop.run(ask()).answer


async def test_who_has_just_come_by_tcp_is_answered_by_a_server_that_ends(
    server: tuple[Nameserver, int],
) -> None:
    nameserver, port = server
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ending = asyncio.create_task(nameserver.close())
    await asyncio.sleep(0.05)
    wire = QUESTION.to_wire()
    writer.write(len(wire).to_bytes(2, "big") + wire)
    size = int.from_bytes(await reader.readexactly(2), "big")
    assert dns.message.from_wire(await reader.readexactly(size)).answer
    await ending
    writer.close()


async def test_questions_that_come_while_nobody_serves_are_answered_by_the_next() -> None:
    with open_stream(("127.0.0.1", 0)) as stream, open_datagrams(place_of(stream)) as datagrams:
        first, second = (
            Nameserver(RateLimiter(per_topic=0, per_address=0), TransferAccess(KEYS)) for _ in range(2)
        )
        second.authority = sample_authority()
        port = await first.serve([stream.dup()], [datagrams.dup()])
        await first.close()
        asked = [
            asyncio.create_task(way(QUESTION, "127.0.0.1", 10, port))
            for way in (dns.asyncquery.udp, dns.asyncquery.tcp)
        ]
        await asyncio.sleep(0.05)
        await second.serve([stream.dup()], [datagrams.dup()])
        assert all(answer.answer for answer in await asyncio.gather(*asked))
        await second.close()
