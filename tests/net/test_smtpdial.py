"""Looking at mail servers, good, broken and hostile."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.mailserver import GO_AHEAD, FakeMailServer
from tests.zoo.certs import Zoo

from mailward.core.certificate import read_chain
from mailward.core.check.facts import Depth, Reach, Session
from mailward.net.guard import Guard
from mailward.net.smtpdial import Caller, Patience, dial, dial_deep

MX = "mx.example.test"
GENEROUS = Patience()
SHORT = Patience(connect=2, answer=0.3, total=2)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return Zoo(tmp_path_factory.mktemp("zoo"))


def context(zoo: Zoo, kind: str, tmp_path: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = tmp_path / "chain.pem"
    file.write_bytes(zoo.issue(kind, MX).pem)
    made.load_cert_chain(file)
    return made


def caller(server: FakeMailServer, zoo: Zoo, patience: Patience = GENEROUS) -> Caller:
    guard = Guard(allow_private=True)
    return Caller("probe.example.test", guard, zoo.root_file, server.port, patience)


async def look(server: FakeMailServer, zoo: Zoo, patience: Patience = GENEROUS) -> Session:
    with server.running():
        session = await dial(MX, "127.0.0.1", caller(server, zoo, patience))
        await asyncio.sleep(0)  # so that the connection is closed before the server is waited for
        return session


async def test_a_good_server_shows_everything_and_hears_quit(zoo: Zoo, tmp_path: Path) -> None:
    server = FakeMailServer(context(zoo, "good", tmp_path))
    session = await look(server, zoo)
    assert session.reach is Reach.SPOKE
    assert session.banner == "mx.example.test ESMTP"
    assert session.tls is not None
    assert session.tls.version == "TLSv1.3"
    assert session.tls.errors == ()
    assert [each.subject for each in read_chain(session.tls.chain)] == [f"CN={MX}", "CN=Zoo Intermediate"]
    assert server.commands == ["EHLO probe.example.test", "STARTTLS", "EHLO probe.example.test", "QUIT"]


async def test_s19_the_mx_host_is_named_in_the_handshake(zoo: Zoo, tmp_path: Path) -> None:
    names: list[str | None] = []
    made = context(zoo, "good", tmp_path)
    made.sni_callback = lambda _socket, name, _context: names.append(name)
    await look(FakeMailServer(made), zoo)
    assert names == [MX]


# what OpenSSL says of each chain, as `openssl verify` numbers it
@pytest.mark.parametrize(
    "kind, numbers",
    [
        ("expired", {10}),
        ("not-yet-valid", {9}),
        ("self-signed", {18}),
        ("untrusted", {20, 21}),
        ("no-intermediate", {20, 21}),
        ("other-name", set()),
    ],
)
async def test_a_bad_chain_is_seen_whole(zoo: Zoo, tmp_path: Path, kind: str, numbers: set[int]) -> None:
    session = await look(FakeMailServer(context(zoo, kind, tmp_path)), zoo)
    assert session.tls is not None
    assert {error.number for error in session.tls.errors} == numbers
    assert session.extensions_in_tls == ("PIPELINING", "STARTTLS")


async def test_a_chain_that_is_no_good_is_judged_anew_for_each_connection(zoo: Zoo, tmp_path: Path) -> None:
    server = FakeMailServer(context(zoo, "expired", tmp_path))
    first = await look(server, zoo)
    second = await look(FakeMailServer(server.context), zoo)
    assert first.tls is not None
    assert second.tls is not None
    assert first.tls.errors == second.tls.errors


async def test_a_server_without_starttls(zoo: Zoo) -> None:
    session = await look(FakeMailServer(ehlo=b"250-mx\r\n250 SIZE\r\n"), zoo)
    assert (session.reach, session.offers_starttls, session.is_observed) == (Reach.SPOKE, False, True)


async def test_a_server_that_refuses_starttls(zoo: Zoo) -> None:
    session = await look(FakeMailServer(starttls=b"454 4.7.0 TLS not available\r\n"), zoo)
    assert session.starttls_reply == "454 4.7.0 TLS not available"


# each ends or hangs at another step: what is told, and whether it says anything about TLS
BROKEN = (
    ({"greeting": b"421 busy\r\n"}, Reach.TURNED_AWAY, "it says 421 busy", False),
    ({"ehlo": b"450 4.7.1 greylisted\r\n"}, Reach.TURNED_AWAY, "it says 450 4.7.1 greylisted", False),
    ({"ends_after": "connect"}, Reach.SILENT, "the connection was closed", False),
    ({"hangs_after": "connect"}, Reach.SILENT, "no answer in time at the step greeting", False),
    ({"ends_after": "EHLO"}, Reach.SILENT, "the connection was closed", False),
    ({"ends_after": "STARTTLS"}, Reach.SPOKE, "the connection was closed", False),
    ({"hangs_after": "STARTTLS"}, Reach.SPOKE, "no answer in time at the step starttls", False),
    ({"hangs_after": "220"}, Reach.SPOKE, "no answer in time at the step handshake", False),
    ({"greeting": b"HTTP/1.1 400 Bad Request\r\n"}, Reach.SILENT, "HTTP/1.1 400", False),
    ({"greeting": b"220-" + b"x" * 100_000}, Reach.SILENT, "without an end of line", False),
    ({"greeting": b"220-x\r\n" * 10_000}, Reach.SILENT, "more than 128 lines", False),
)


@pytest.mark.parametrize("script, reach, reason, is_observed", BROKEN)
async def test_a_server_that_breaks_off(
    zoo: Zoo, script: dict[str, str], reach: Reach, reason: str, is_observed: bool
) -> None:
    session = await look(FakeMailServer(**script), zoo, SHORT)  # type: ignore[arg-type]  # bytes and str
    assert (session.reach, session.is_observed) == (reach, is_observed)
    assert reason in session.reason


async def test_a_line_that_is_cut_in_the_handshake_is_a_handshake_that_fails(zoo: Zoo) -> None:
    session = await look(FakeMailServer(ends_after="220"), zoo, SHORT)
    assert session.tls_error == "the connection was closed during the handshake"
    assert session.is_observed


async def test_a_server_that_speaks_no_tls_after_the_220(zoo: Zoo) -> None:
    session = await look(FakeMailServer(starttls=GO_AHEAD), zoo, SHORT)
    assert session.tls_error


async def test_a_server_that_takes_too_long_in_all_is_left(zoo: Zoo) -> None:
    patience = replace(SHORT, answer=5, total=0.5)
    session = await look(FakeMailServer(hangs_after="EHLO"), zoo, patience)
    assert session.reach is Reach.SILENT


async def test_nobody_listens() -> None:
    session = await dial(MX, "127.0.0.1", Caller("p.test", Guard(allow_private=True), port=1))
    assert session.reach is Reach.REFUSED


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "224.0.0.1"]
)
async def test_an_address_that_is_not_of_the_internet_is_not_connected_to(address: str) -> None:
    session = await dial(MX, address, Caller("p.test", Guard()))
    assert session.reach is Reach.FORBIDDEN
    assert address in session.reason


async def look_deep(server: FakeMailServer, zoo: Zoo) -> Depth:
    with server.running():
        depth = await dial_deep(MX, "127.0.0.1", caller(server, zoo))
        await asyncio.sleep(0)
    return depth


async def test_the_versions_that_a_server_accepts_are_told_one_by_one(zoo: Zoo, tmp_path: Path) -> None:
    modern = context(zoo, "good", tmp_path)
    modern.minimum_version = ssl.TLSVersion.TLSv1_2
    depth = await look_deep(FakeMailServer(modern), zoo)
    assert [version for version, _ in depth.versions] == ["TLSv1.2", "TLSv1.3"]


@pytest.mark.parametrize("is_injectable", [False, True])
async def test_a_command_slipped_in_before_tls(zoo: Zoo, tmp_path: Path, is_injectable: bool) -> None:
    server = FakeMailServer(context(zoo, "good", tmp_path), is_injectable=is_injectable)
    assert (await look_deep(server, zoo)).accepts_injected is is_injectable


async def test_without_starttls_nothing_is_slipped_in(zoo: Zoo) -> None:
    assert await look_deep(FakeMailServer(ehlo=b"250 mx\r\n"), zoo) == Depth()


async def test_it_connects_from_the_address_that_is_wanted(zoo: Zoo) -> None:
    seen = []

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        wanted = Caller("probe.example.test", Guard(allow_private=True), port=port, sources=("127.0.0.9", ""))
        await dial(MX, "127.0.0.1", wanted)
    assert seen == ["127.0.0.9"]
