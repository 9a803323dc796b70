"""The report doors behind a TCP proxy: what its PROXY header says is the client."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.fakes.dns import FakeDns
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import ADDRESS, TOKEN, SmtpClient, json_body

from mailward.config import Settings
from mailward.ingest.channels import smtp as channel
from mailward.ingest.doors import Doors, open_doors
from mailward.net.resolver import Resolver

pytestmark = pytest.mark.usefixtures("domain")
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n"
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a 21 21 0024") + bytes.fromhex(
    "20010db8000000000000000000000007 20010db8000000000000000000000001 dc04 0019"
)


@pytest.fixture
async def doors(settings_of_doors: Settings, transactional_db: None) -> AsyncIterator[Doors]:
    """Doors that take loopback for a proxy."""
    own = settings_of_doors.reports
    proxies = ("127.0.0.1",)
    reports = msgspec.structs.replace(
        own, smtp_proxies=proxies, https_proxies=proxies, relays=("192.0.2.7", *proxies)
    )
    async with FakeDns() as dns:
        settings = msgspec.structs.replace(settings_of_doors, reports=reports)
        async with open_doors(settings, resolver=Resolver([dns.address], timeout_seconds=2)) as opened:
            yield opened


@asynccontextmanager
async def through(port: int, header: bytes) -> AsyncIterator[SmtpClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(header)
    try:
        yield SmtpClient(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize("header, peer", [(V1, "192.0.2.7"), (V2, "2001:db8::7")], ids=["v1", "v2"])
async def test_a_mail_comes_from_whom_the_header_names(
    doors: Doors, caplog: pytest.LogCaptureFixture, header: bytes, peer: str
) -> None:
    caplog.set_level(logging.INFO, "mailward.ingest.smtp")
    async with through(doors.smtp_port, header) as client:
        assert (await client.reply()).startswith("220")
        await client.command("EHLO client.test")
        assert (await client.send(google_mail(report_json(report_id=peer)), ADDRESS)).startswith("250")
    assert [vars(each)["peer"] for each in caplog.records if each.getMessage() == "mail"] == [peer]


async def test_a_relay_is_known_by_the_address_in_the_header(doors: Doors) -> None:
    async with through(doors.smtp_port, V1) as client:
        await client.reply()
        assert (await client.command("LHLO relay.test")).startswith("250")
    async with through(doors.smtp_port, V2) as client:
        await client.reply()
        assert (await client.command("LHLO relay.test")).startswith("500")


UNKNOWN = b"PROXY UNKNOWN\r\n"
LOCAL = bytes.fromhex("0d0a0d0a000d0a515549540a 20 00 0000")


@pytest.mark.parametrize("header", [UNKNOWN, LOCAL], ids=["v1", "v2"])
async def test_whom_the_proxy_does_not_know_is_no_relay_though_the_proxy_s_machine_is_one(
    doors: Doors, header: bytes
) -> None:
    async with through(doors.smtp_port, header) as client:
        assert (await client.reply()).startswith("220")
        assert (await client.command("LHLO relay.test")).startswith("500")


async def test_a_header_in_pieces_is_waited_for(doors: Doors) -> None:
    async with through(doors.smtp_port, V2[:20]) as client:
        await asyncio.sleep(0.05)
        client.writer.write(V2[20:])
        assert (await client.reply()).startswith("220")


async def test_many_connections_of_one_client_through_the_proxy_have_its_limit(doors: Doors) -> None:
    assert channel.SmtpLimits().connections_an_address == 50
    held = [await asyncio.open_connection("127.0.0.1", doors.smtp_port) for _ in range(51)]
    greetings = []
    for reader, writer in held:
        writer.write(V1)
        greetings.append((await reader.readline())[:3])
    assert greetings == [b"220"] * 50 + [b"421"]
    async with through(doors.smtp_port, V2) as other:
        assert (await other.reply()).startswith("220")
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize("sent", [b"EHLO client.test\r\n", V1.replace(b"TCP4", b"TCP9"), b""], ids=repr)
async def test_without_a_header_the_mail_door_says_nothing_and_hangs_up(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(channel, "PROXY_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.smtp_port)
    writer.write(sent)
    said = b""
    with contextlib.suppress(ConnectionResetError):
        said = await reader.read(1000)
    assert said == b""
    writer.close()


@pytest.mark.parametrize("header, peer", [(V1, "192.0.2.7"), (V2, "2001:db8::7")], ids=["v1", "v2"])
async def test_a_post_comes_from_whom_the_header_names(
    doors: Doors, caplog: pytest.LogCaptureFixture, header: bytes, peer: str
) -> None:
    caplog.set_level(logging.INFO, "mailward.ingest.https")
    assert await post_through(doors.https_port, header) == 201
    assert [vars(each)["peer"] for each in caplog.records if each.getMessage() == "request"] == [peer]


@pytest.mark.parametrize("header", [b"", V1.replace(b"TCP4", b"TCP9")], ids=["none", "malformed"])
async def test_without_a_header_the_report_door_hangs_up(doors: Doors, header: bytes) -> None:
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await post_through(doors.https_port, header)


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_a_header_from_elsewhere_is_no_header(
    settings_of_doors: Settings, transactional_db: None, header: bytes
) -> None:
    own = settings_of_doors.reports
    elsewhere = ("192.0.2.7",)  # which is also who the header says that it is
    reports = msgspec.structs.replace(own, smtp_proxies=elsewhere, https_proxies=elsewhere)
    settings = msgspec.structs.replace(settings_of_doors, reports=reports)
    async with FakeDns() as dns:
        resolver = Resolver([dns.address], timeout_seconds=2)
        async with (
            open_doors(settings, resolver=resolver) as opened,
            through(opened.smtp_port, header) as client,
        ):
            assert (await client.reply()).startswith("220")
            assert (await client.reply()).startswith("500")
            with pytest.raises((ConnectionError, ssl.SSLError)):
                await post_through(opened.https_port, header)
            assert await post_through(opened.https_port, b"") == 201


async def post_through(port: int, header: bytes) -> int:
    """The status of a report that is posted behind the header."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(header)
    await writer.start_tls(context, server_hostname="reports.localhost")
    body = json_body(report_json())
    head = (
        f"POST /v1/tlsrpt/{TOKEN} HTTP/1.1\r\nHost: reports.localhost\r\nConnection: close\r\n"
        f"Content-Type: application/tlsrpt+json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status
