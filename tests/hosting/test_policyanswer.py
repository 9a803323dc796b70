"""The short way answers exactly what the long way would, and takes nothing that it does not wholly understand."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailward.config import PolicyHost as PolicyHostSettings
from mailward.config import Settings
from mailward.hosting.policyanswer import PlainRequest, make_etag, read_plain
from mailward.hosting.policyweb import PolicyHost, serve_policies
from mailward.hosting.snapshot import Snapshot, SnapshotKeeper, save_snapshot
from mailward.net.httpmessage import HttpLimits
from mailward.net.httpreader import Arrived, RequestReader
from mailward.net.httpserver import Server

HOST = "mta-sts.example.test"
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.test\r\nmax_age: 604800\r\n"
SINCE = 1_795_000_000  # Wed, 18 Nov 2026 11:06:40 GMT
LINE = b"GET /.well-known/mta-sts.txt HTTP/1.1\r\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=str(tmp_path))


@pytest.fixture
def keeper(tmp_path: Path) -> SnapshotKeeper:
    save_snapshot(Snapshot(3, {HOST: POLICY}, {HOST: SINCE}), tmp_path / "snapshot.json")
    return SnapshotKeeper(tmp_path / "snapshot.json")


async def ask(server: Server, settings: Settings, *chunks: bytes) -> bytes:
    context = ssl.create_default_context(cafile=settings.data_path / "ca" / "ca.pem")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, server_hostname=HOST
    )
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = await reader.read()
    writer.close()
    return answer


def fields(answer: bytes) -> dict[bytes, bytes]:
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}


async def test_both_ways_give_the_same_answer(settings: Settings, keeper: SnapshotKeeper) -> None:
    server = await serve_policies(settings, keeper, port=0)
    tail = b"Host: " + HOST.encode() + b"\r\nConnection: close\r\n\r\n"
    short = await ask(server, settings, LINE + tail)
    long = await ask(server, settings, LINE + b"X-Other: 1\r\n" + tail)
    parts = await ask(server, settings, LINE, tail)
    await server.close(grace_seconds=0)
    assert fields(short) == fields(long) | {b"date": fields(short)[b"date"]}
    assert fields(short).keys() == fields(parts).keys()
    assert [answer.partition(b"\r\n\r\n")[2] for answer in (short, long, parts)] == [POLICY] * 3
    assert fields(short)[b"last-modified"] == b"Wed, 18 Nov 2026 11:06:40 GMT"
    assert fields(short)[b"etag"] == make_etag(POLICY).encode()


async def test_a_connection_may_be_kept_for_several_requests(
    settings: Settings, keeper: SnapshotKeeper
) -> None:
    server = await serve_policies(settings, keeper, port=0)
    host = b"Host: " + HOST.encode() + b"\r\n"
    plain, head = LINE + host + b"\r\n", LINE.replace(b"GET", b"HEAD") + host + b"\r\n"
    other = LINE + host + b"X-Other: 1\r\n\r\n"
    last = LINE + host + b"Connection: close\r\n\r\n"
    answer = await ask(server, settings, plain, head, plain, other, plain, last)
    await server.close(grace_seconds=0)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 6
    assert answer.count(POLICY) == 5
    assert answer.count(b"Connection: close") == 1


ETAG = make_etag(POLICY)
CONDITIONS = [
    (f"If-None-Match: {ETAG}", 304),
    (f"If-None-Match: W/{ETAG}", 304),
    (f'If-None-Match: "x", {ETAG}', 304),
    ("If-None-Match: *", 304),
    ('If-None-Match: "x"', 200),
    ("If-Modified-Since: Wed, 18 Nov 2026 11:06:40 GMT", 304),
    ("If-Modified-Since: Wed, 18 Nov 2026 11:06:39 GMT", 200),
    ("If-Modified-Since: yesterday", 200),
    ("If-Modified-Since: Wed, 18 Nov 99999999 11:06:39 GMT", 200),
    ('If-None-Match: "x"\r\nIf-Modified-Since: Wed, 18 Nov 2026 11:06:40 GMT', 200),
]


@pytest.mark.parametrize("condition, status", CONDITIONS)
async def test_what_has_not_changed_is_not_sent_again(
    settings: Settings, keeper: SnapshotKeeper, condition: str, status: int
) -> None:
    server = await serve_policies(settings, keeper, port=0)
    request = LINE + f"Host: {HOST}\r\n{condition}\r\nConnection: close\r\n\r\n".encode()
    answer = await ask(server, settings, request)
    await server.close(grace_seconds=0)
    assert int(answer.split(b" ")[1]) == status
    assert answer.endswith(POLICY) == (status == 200)
    assert fields(answer)[b"etag"] == ETAG.encode()


def test_plain_requests_are_read() -> None:
    data = LINE + b"Host: a.test\r\nUser-Agent: Google-SMTP-STS\r\naccept: */*\r\nConnection: Close\r\n\r\n"
    assert read_plain(data) == PlainRequest("a.test", "Google-SMTP-STS", head_only=False, close=True)


NOT_PLAIN = [
    (LINE + b"Host: a.test\r\nHost: a.test\r\n\r\n", "two hosts"),
    (LINE + b"\r\n", "no host"),
    (LINE + b"\r\nHost: a.test\r\n", "a host after the end"),
    (LINE + b"\r\nHost: a.test\r\n\r\n", "a host after the end, and an end"),
    (LINE + b"Host: \r\n\r\n", "an empty host"),
    (LINE + b"Host: a.test\r\n", "not complete"),
    (LINE + b"Host: a.test\r\n\r\nGET", "more than one"),
    (LINE + b"Host: a.test\r\nContent-Length: 3\r\n\r\n", "a body"),
    (LINE + b"Host: a.test\r\nTransfer-Encoding: chunked\r\n\r\n", "a body in chunks"),
    (LINE + b'Host: a.test\r\nIf-None-Match: "x"\r\n\r\n', "a condition"),
    (LINE + b"Host: a.test\r\nConnection: upgrade\r\n\r\n", "another connection"),
    (LINE + b"Host: a.test\r\n folded: x\r\n\r\n", "folded"),
    (LINE + b"Host: a.test\r\nAccept : x\r\n\r\n", "a space before the colon"),
    (LINE + b"Host: a.test\r\nAccept: x\x00\r\n\r\n", "a control character"),
    (LINE + b"Host: a.test\nAccept: x\r\n\r\n", "a bare LF"),
    (LINE.replace(b"1.1", b"1.0") + b"Host: a.test\r\n\r\n", "HTTP/1.0"),
    (LINE.replace(b".txt", b".txt?x") + b"Host: a.test\r\n\r\n", "a query"),
]


@pytest.mark.parametrize("data, reason", NOT_PLAIN, ids=[row[1] for row in NOT_PLAIN])
def test_whatever_is_unusual_goes_the_long_way(data: bytes, reason: str) -> None:
    assert read_plain(data) is None


PIECES = st.sampled_from(
    (LINE, b"Host: a.test\r\n", b"Accept: */*\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
     b"User-Agent: x y\r\n", b"\r\n", b"Host:a.test \r\n", b"Accept:\r\n", b" ", b":", b"\n", b"Expect: x\r\n")
)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map(b"".join).map(lambda rest: LINE + rest))
def test_what_is_plain_means_the_same_to_the_parser(data: bytes) -> None:
    plain = read_plain(data)
    if plain is None:
        return
    reader = RequestReader(HttpLimits(), peer="", server_name=None, secure=True)
    (event,) = reader.feed(data)
    assert isinstance(event, Arrived)
    assert event.request.host == plain.host
    assert event.request.headers.get("user-agent", "") == plain.user_agent
    assert event.keep_alive == (not plain.close)


V2 = bytes.fromhex("0d0a0d0a000d0a515549540a 21 11 000c c0000207 c0000201 0001 01bb")
V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 1 443\r\n"


async def test_behind_a_proxy_its_clients_are_counted(
    tmp_path: Path, keeper: SnapshotKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mailward.hosting")
    settings = Settings(data=str(tmp_path), policy_host=PolicyHostSettings(proxies=("127.0.0.0/8",)))
    server = await serve_policies(settings, keeper, port=0)
    answers = [
        await through_proxy(server, settings, header)
        for header in (
            V1,
            V2,
            b"PROXY UNKNOWN\r\n",
            b"PROXY TCP4 192.0.2.7 1 443\r\n",
            b"",
        )
    ]
    await server.close(grace_seconds=0)
    assert [answer.startswith(b"HTTP/1.1 200") for answer in answers] == [True, True, True, False, False]
    assert peers(caplog) == ["192.0.2.7", "192.0.2.7", "127.0.0.1"]


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_a_proxy_header_from_elsewhere_is_no_header(
    tmp_path: Path, keeper: SnapshotKeeper, caplog: pytest.LogCaptureFixture, header: bytes
) -> None:
    caplog.set_level(logging.INFO, "mailward.hosting")
    settings = Settings(data=str(tmp_path), policy_host=PolicyHostSettings(proxies=("192.0.2.0/24",)))
    server = await serve_policies(settings, keeper, port=0)
    answers = [await through_proxy(server, settings, each) for each in (header, b"")]
    await server.close(grace_seconds=0)
    assert [answer.startswith(b"HTTP/1.1 200") for answer in answers] == [False, True]
    assert peers(caplog) == ["127.0.0.1"]


def peers(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Who was answered, as the log has it."""
    return [vars(each)["peer"] for each in caplog.records if "peer" in vars(each) and "host" in vars(each)]


async def through_proxy(server: Server, settings: Settings, header: bytes) -> bytes:
    """What comes back through a connection that begins with `header`; empty where there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(header)
    context = ssl.create_default_context(cafile=settings.data_path / "ca" / "ca.pem")
    try:
        await writer.start_tls(context, server_hostname=HOST)
        writer.write(LINE + b"Host: " + HOST.encode() + b"\r\nConnection: close\r\n\r\n")
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()


def test_proxies_are_networks() -> None:
    from mailward.hosting.policyweb import make_proxy_test

    is_proxy = make_proxy_test(("192.0.2.0/24", "2001:db8::1"))
    assert [is_proxy(peer) for peer in ("192.0.2.9", "::ffff:192.0.2.9", "192.0.3.9", "2001:db8::1", "")] == [
        True, True, False, True, False,
    ]  # fmt: skip


def test_a_policy_host_answers_without_a_counter(keeper: SnapshotKeeper) -> None:
    host = PolicyHost(keeper, "policies.provider.test", log_requests=False)
    data = LINE + b"Host: " + HOST.encode() + b"\r\n\r\n"
    assert host.shortcut(data, "192.0.2.1", "mta-sts.other.test") is None
    answer = host.shortcut(data, "192.0.2.1", HOST)
    assert answer is not None
    assert answer.data.endswith(b"\r\n\r\n" + POLICY)
    assert not answer.close
