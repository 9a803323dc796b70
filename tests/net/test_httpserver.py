import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from mailward.net import httpconnection
from mailward.net.httpmessage import Finished, Handler, HttpLimits, Request, Response, serialise_response
from mailward.net.httpreader import Arrived, Event, Refused, RequestReader
from mailward.net.httpserver import Server, serve_http
from mailward.net.httpservice import address_block
from mailward.net.listening import open_stream
from mailward.net.tlspipe import holds_record

GET = b"GET /a?b=c HTTP/1.1\r\nHost: Example.Test:8443\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
QUICK = HttpLimits(count_loopback=True, linger_seconds=0.2)
SHORT = 0.15  # a deadline that a test waits for


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.01)


def echo(request: Request) -> Response:
    text = f"{request.method} {request.path} {request.query} {request.host} {len(request.body)}\n"
    return Response(200, text.encode())


@asynccontextmanager
async def running(
    handler: Handler = echo,
    limits: HttpLimits = QUICK,
    **options: Callable[..., None] | Callable[..., Response | None],
) -> AsyncIterator[Server]:
    server = await serve_http(handler, listen="127.0.0.1", port=0, limits=limits, **options)  # type: ignore[arg-type]  # either callback
    try:
        yield server
    finally:
        await server.close(grace_seconds=0)


async def exchange(server: Server, *parts: bytes) -> bytes:
    """Send the parts, each in a packet of its own, and return all that comes until the server ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def post(body: bytes, *fields: str, length: int | None = None) -> bytes:
    lines = [
        "POST / HTTP/1.1",
        "Host: a",
        f"Content-Length: {len(body) if length is None else length}",
        *fields,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def test_a_request_is_answered_and_the_connection_is_kept() -> None:
    async with running() as server:
        answer = await exchange(server, GET, LAST)
    first, second = answer.split(b"GET /a b=c example.test 0\n")
    assert first.startswith(b"HTTP/1.1 200 OK\r\nDate: ")
    assert (
        b"Server: Mailward\r\nContent-Length: 26\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" in first
    )
    assert b"Connection: close" not in first
    assert b"Connection: close" in second
    assert second.endswith(b"GET /last  a 0\n")


async def test_pipelined_requests_are_answered_in_order_by_slow_handlers_too() -> None:
    delays = iter([0.05, 0.0])

    async def handler(request: Request) -> Response:
        await asyncio.sleep(next(delays))
        return echo(request)

    async with running(handler) as server:
        answer = await exchange(server, GET + LAST)
    assert answer.index(b"GET /a ") < answer.index(b"GET /last ")


async def test_head_gets_the_header_alone() -> None:
    async with running() as server:
        answer = await exchange(server, LAST.replace(b"GET", b"HEAD"))
    assert b"Content-Length: 16\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_http_1_0_is_answered_and_closed() -> None:
    async with running() as server:
        answer = await exchange(server, b"GET /x HTTP/1.0\r\n\r\n")
    assert answer.endswith(b"GET /x   0\n")


async def test_bodies_arrive_whole() -> None:
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    async with running() as server:
        assert (await exchange(server, post(b"12345", "Connection: close"))).endswith(b" a 5\n")
        assert (await exchange(server, chunked, b"3\r\nabc\r\n", b"4\r\n1234\r\n0\r\nT: x\r\n\r\n")).endswith(
            b" a 7\n"
        )


async def test_expect_100_continue_is_invited_only_when_the_body_is_welcome() -> None:
    wanted = "Expect: 100-continue"
    async with running() as server:
        answer = await exchange(server, post(b"", wanted, "Connection: close", length=2), b"ab")
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert status(await exchange(server, post(b"", wanted, length=10_000_000))) == 413
        assert status(await exchange(server, post(b"", "Expect: tea", length=2))) == 417


async def test_admit_turns_a_request_away_before_its_body() -> None:
    def admit(request: Request) -> Response | None:
        return Response(404, b"no\n") if request.path == "/" else None

    async with running(admit=admit) as server:
        assert status(await exchange(server, post(b"", length=60_000))) == 404


BAD = [
    (b"GARBAGE\r\n\r\n", 400, "no request line"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "TLS on a plain port"),
    (b"\x00" * 100, 400, "zeros"),
    (b"GET /\r\n\r\n", 505, "HTTP/0.9"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2 preface"),
    (b"GET / HTTP/1.1\r\n\r\n", 400, "no Host"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "two Hosts"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400, "folded line"),
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "space before the colon"),
    (b"GET / HTTP/1.1\nHost: a\n\n", 400, "bare LF"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, "negative length"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "two lengths"),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "two framings",
    ),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "chunks in HTTP/1.0"),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        400,
        "chunk size not hexadecimal",
    ),
    (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n", 431, "long target"),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431, "long header"),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431, "a header without an end"),
    (b"\r\n" * 40_000, 431, "empty lines without an end"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431, "many headers"),
    (post(b"", length=70_000), 413, "announced too large"),
]


@pytest.mark.parametrize("sent, expected, reason", BAD, ids=[row[2] for row in BAD])
async def test_hostile_bytes_are_refused(sent: bytes, expected: int, reason: str) -> None:
    async with running() as server:
        answer = await exchange(server, sent)
        assert status(answer) == expected, reason
        assert b"Connection: close\r\n" in answer
        assert status(await exchange(server, LAST)) == 200


async def test_a_chunked_body_is_cut_at_the_limit() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    async with running() as server:
        assert status(await exchange(server, head, chunk, chunk, chunk)) == 413


async def test_an_upgrade_is_ignored_and_ends_the_connection() -> None:
    async with running() as server:
        answer = await exchange(server, GET[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nPRI")
    assert status(answer) == 200
    assert b"Connection: close\r\n" in answer


async def test_a_good_request_before_garbage_is_answered_first() -> None:
    async with running() as server:
        answer = await exchange(server, GET + b"\x00\x01\x02")
    assert answer.index(b"HTTP/1.1 200 ") < answer.index(b"HTTP/1.1 400 ")


async def test_pipelining_is_bounded() -> None:
    async with running(limits=replace(QUICK, pipelined=4)) as server:
        answer = await exchange(server, GET * 50)
    assert answer.count(b"HTTP/1.1 200 ") == 4
    assert answer.count(b"HTTP/1.1 503 ") == 1


async def test_a_connection_ends_after_its_share_of_requests() -> None:
    async with running(limits=replace(QUICK, requests_a_connection=2)) as server:
        answer = await exchange(server, GET * 3)
    assert answer.count(b"HTTP/1.1 200 ") == 2


DEADLINES = [
    (replace(QUICK, head_seconds=SHORT), (), 0, "silence"),
    (replace(QUICK, head_seconds=SHORT), (b"GET / HTTP/1.1\r\n", b"X: y\r\n"), 408, "slowloris"),
    (replace(QUICK, idle_seconds=SHORT), (GET,), 200, "idle after an answer"),
    (replace(QUICK, body_seconds=SHORT), (post(b"ab", length=100),), 408, "half a body"),
]


@pytest.mark.parametrize("limits, sent, expected, reason", DEADLINES, ids=[row[3] for row in DEADLINES])
async def test_each_wait_has_a_deadline(
    limits: HttpLimits, sent: tuple[bytes, ...], expected: int, reason: str
) -> None:
    async with running(limits=limits) as server:
        assert status(await exchange(server, *sent)) == expected, reason


async def test_a_drip_does_not_move_the_deadline() -> None:
    async with running(limits=replace(QUICK, head_seconds=SHORT)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for byte in GET:
            writer.write(bytes([byte]))
            await asyncio.sleep(SHORT / 10)  # the whole would take five seconds
            if not server.connections:
                break
        assert status(await reader.read(100)) == 408
        assert not server.connections
        writer.close()


async def test_a_steady_body_may_take_longer_than_the_first_deadline() -> None:
    limits = replace(QUICK, body_seconds=SHORT, body_bytes_per_second=100)
    async with running(limits=limits) as server:
        parts = [b"x" * 20 for _ in range(40)]
        answer = await exchange(server, post(b"", "Connection: close", length=800), *parts)
    assert answer.endswith(b" a 800\n")


async def test_handlers_that_raise_or_stall_say_nothing_of_why(caplog: pytest.LogCaptureFixture) -> None:
    async def stall(_request: Request) -> Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def fail(_request: Request) -> Response:
        raise LookupError("secret")

    def fail_at_once(_request: Request) -> Response:
        raise LookupError("secret")

    def split(_request: Request) -> Response:
        return Response(200, headers=(("X", "a\r\nSet-Cookie: b"),))

    handlers: list[tuple[Callable[[Request], Response | Awaitable[Response]], int]]
    handlers = [(stall, 503), (fail, 500), (fail_at_once, 500), (split, 500)]
    for handler, expected in handlers:
        with caplog.at_level(logging.CRITICAL):
            async with running(handler, replace(QUICK, handler_seconds=SHORT)) as server:
                answer = await exchange(server, LAST)
        assert status(answer) == expected
        assert b"secret" not in answer


async def test_connections_of_one_address_are_bounded() -> None:
    async with running(limits=replace(QUICK, connections_an_address=2)) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert await exchange(server, LAST) == b""
        held[0][1].close()
        await held[0][1].wait_closed()
        await asyncio.sleep(0.05)
        assert status(await exchange(server, LAST)) == 200
        held[1][1].close()


async def test_stalled_connections_of_an_address_give_way_to_its_own_new_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(httpconnection, "STALLED_SECONDS", 0)
    async with running(limits=replace(QUICK, connections_an_address=2, head_seconds=30)) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await until(lambda: server.connections == 2)
        assert status(await exchange(server, LAST)) == 200
        assert await held[0][0].read() == b""
        for _, writer in held:
            writer.close()


async def test_idle_connections_give_way_to_new_ones() -> None:
    async with running(limits=replace(QUICK, connections=1)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        assert (await reader.readuntil(b" 0\n")).startswith(b"HTTP/1.1 200 ")
        assert status(await exchange(server, LAST)) == 200
        await until(lambda: reader.at_eof() or reader.exception() is not None)
        writer.close()


async def test_stalled_connections_give_way_when_none_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(httpconnection, "STALLED_SECONDS", SHORT)
    async with running(limits=replace(QUICK, connections=1)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await until(lambda: server.connections == 1)
        assert await exchange(server, LAST) == b"", "it may still be honest"
        await asyncio.sleep(SHORT)
        assert status(await exchange(server, LAST)) == 200
        await until(lambda: reader.at_eof() or reader.exception() is not None)
        writer.close()


async def test_all_bodies_together_are_bounded() -> None:
    async with running(limits=replace(QUICK, all_bodies_bytes=1_000)) as server:
        answer = await exchange(server, post(b"x" * 2_000, length=4_000))
        assert status(answer) == 503
        assert b"Retry-After: 30\r\n" in answer
        assert status(await exchange(server, LAST)) == 200


async def test_a_reader_that_does_not_read_is_dropped() -> None:
    def big(_request: Request) -> Response:
        return Response(200, b"x" * 20_000_000)

    async with running(big, replace(QUICK, write_seconds=SHORT)) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        writer.write(GET)
        await until(lambda: server.connections == 1)
        await until(lambda: server.connections == 0)
        writer.close()


async def test_a_client_that_leaves_does_not_free_its_slot_before_its_work_is_done() -> None:
    gate = asyncio.Event()

    async def wait(request: Request) -> Response:
        await gate.wait()
        return echo(request)

    async with running(wait) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await asyncio.sleep(0.05)
        assert server.connections == 1
        gate.set()
        await asyncio.sleep(0.05)
        assert server.connections == 0


async def test_close_finishes_what_was_begun() -> None:
    gate = asyncio.Event()

    async def wait(request: Request) -> Response:
        await gate.wait()
        return echo(request)

    async with running(wait) as server:
        answer = asyncio.create_task(exchange(server, GET))
        await until(lambda: server.connections == 1)
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(server.close())
        await asyncio.sleep(0.01)
        gate.set()
        assert status(await answer) == 200
        await closing


async def test_each_answer_is_told_once() -> None:
    told: list[Finished] = []
    async with running(on_finished=told.append) as server:
        await exchange(server, GET + b"\x00")
    assert [(row.status, row.peer) for row in told] == [(200, "127.0.0.1"), (400, "127.0.0.1")]
    assert told[0].request is not None
    assert told[0].request.path == "/a"
    assert told[1].request is None


TARGETS = [
    ("/x?y?z", "/x", "y?z", "origin form"),
    ("http://other.test:80/x?y", "/x", "y", "absolute form, whose host wins"),
    ("http://other.test", "/", "", "absolute form without a path"),
    ("/a://b", "/a://b", "", "a path that looks absolute"),
    ("/%2e%2e/x", "/%2e%2e/x", "", "escapes are kept"),
]


@pytest.mark.parametrize("target, path, query, reason", TARGETS)
def test_targets_are_split(target: str, path: str, query: str, reason: str) -> None:
    [event] = read(f"GET {target} HTTP/1.1\r\nHost: h.test\r\n\r\n".encode())
    assert isinstance(event, Arrived)
    host = "other.test" if "other" in target else "h.test"
    assert (event.request.path, event.request.query, event.request.host) == (path, query, host), reason


def read(*parts: bytes, limits: HttpLimits = QUICK) -> list[Event]:
    reader = RequestReader(limits, peer="192.0.2.1", server_name=None, secure=False)
    return [event for part in parts for event in reader.feed(part)]


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(st.binary(max_size=60), st.sampled_from([GET, LAST, b"\r\n", post(b"abc")])), max_size=8
    )
)
def test_any_bytes_end_in_requests_or_one_refusal(parts: list[bytes]) -> None:
    events = read(*parts)
    assert all(not isinstance(event, Refused) for event in events[:-1])


@given(st.lists(st.integers(1, 40), max_size=30))
def test_how_bytes_are_cut_into_packets_does_not_matter(cuts: list[int]) -> None:
    data, parts, at = GET + post(b"hello") + LAST, [], 0
    for cut in cuts:
        parts.append(data[at : at + cut])
        at += cut
    whole, cut_up = read(data), read(*parts, data[at:])
    assert [e for e in cut_up if isinstance(e, Arrived)] == [e for e in whole if isinstance(e, Arrived)]


def test_a_header_cannot_break_out_of_its_line() -> None:
    with pytest.raises(ValueError, match="control character"):
        serialise_response(
            Response(200, headers=(("A", "b\r\nC: d"),)), head_only=False, close=False, timestamp=0
        )


BLOCKS = [
    ("192.0.2.7", "192.0.2.7", "IPv4 by address"),
    ("::ffff:192.0.2.7", "192.0.2.7", "mapped IPv4 is IPv4"),
    ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2", "IPv6 by /64"),
    ("2001:db8::9", "2001:db8:0:0", "shortened IPv6"),
    ("fe80::1%eth0", "fe80:0:0:0", "a zone is not counted"),
    ("127.0.0.1", "", "loopback is a front"),
    ("::1", "", "loopback is a front"),
]


@pytest.mark.parametrize("address, block, reason", BLOCKS)
def test_connections_are_counted_by_block(address: str, block: str, reason: str) -> None:
    assert address_block(address, count_loopback=False) == block, reason


ON_UVLOOP = [
    test_a_request_is_answered_and_the_connection_is_kept,
    test_pipelined_requests_are_answered_in_order_by_slow_handlers_too,
    test_bodies_arrive_whole,
    test_a_good_request_before_garbage_is_answered_first,
    test_a_drip_does_not_move_the_deadline,
    test_connections_of_one_address_are_bounded,
    test_idle_connections_give_way_to_new_ones,
    test_a_reader_that_does_not_read_is_dropped,
    test_a_client_that_leaves_does_not_free_its_slot_before_its_work_is_done,
    test_close_finishes_what_was_begun,
]


@pytest.mark.parametrize("test", ON_UVLOOP, ids=[test.__name__ for test in ON_UVLOOP])
def test_the_same_holds_on_uvloop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    uvloop.run(test())


RECORDS = [
    (b"", False),
    (b"\x16", False),
    (b"\x16\x03\x01\x00\x02a", False),
    (b"\x16\x03\x01\x00\x02ab", True),
    (b"\x16\x03\x01\x00\x02ab\x16", True),
    (b"\x16\x03\x01\xff\xff", True),  # larger than records are
    (b"G", True),
]


@pytest.mark.parametrize("data, whole", RECORDS)
def test_a_hello_is_waited_for_until_it_is_whole(data: bytes, whole: bool) -> None:
    assert holds_record(data) == whole


async def test_who_has_just_come_is_answered_once_by_a_server_that_ends() -> None:
    server = await serve_http(echo, listen="127.0.0.1", port=0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    ending = asyncio.create_task(server.close())
    await asyncio.sleep(0.05)
    writer.write(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close\r\n" in answer
    await ending
    writer.close()


async def test_who_comes_while_nobody_serves_is_answered_by_the_next_on_the_same_socket() -> None:
    with open_stream(("127.0.0.1", 0)) as listener:
        first = await serve_http(echo, sockets=[listener.dup()])
        await first.close()
        asking = asyncio.create_task(exchange(first, LAST))
        await asyncio.sleep(0.05)
        assert not asking.done()
        second = await serve_http(echo, sockets=[listener.dup()])
        assert (await asking).startswith(b"HTTP/1.1 200 ")
        await second.close()
