"""Doors that are really open, on ports of the system's choice, with a DNS of the tests' own."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httptools
import msgspec
import pytest
from django.db import connections
from tests.fakes.dns import FakeDns

from mailward.config import Dns, Reports, Settings
from mailward.ingest.doors import Doors, open_doors
from mailward.net.resolver import Resolver

ADDRESS = "dom-example@reports.localhost"
TOKEN = "dom-example"
PATIENCE_SECONDS = 240.0


@dataclass
class House:
    """The doors and what stands behind them."""

    doors: Doors
    dns: FakeDns
    settings: Settings

    async def mail(self, raw: bytes, *recipients: str) -> str:
        """The last reply to one mail: to DATA, or to the RCPT that was refused."""
        async with smtp(self.doors.smtp_port) as client:
            return await client.send(raw, *(recipients or (ADDRESS,)))

    async def post(self, body: bytes, token: str = TOKEN, **options: Any) -> int:
        return await post(self.doors.https_port, f"/v1/tlsrpt/{token}", body, **options)


@dataclass
class SmtpClient:
    """A client as thin as can be, so that tests see each reply."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def reply(self) -> str:
        lines = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                line = (await self.reader.readline()).decode()
                if not line.endswith("\r\n"):
                    raise ConnectionResetError("the server hung up")
                lines.append(line.rstrip("\r\n"))
                if line[3:4] != "-":
                    return "\n".join(lines)

    async def command(self, line: str) -> str:
        self.writer.write(f"{line}\r\n".encode())
        return await self.reply()

    async def send(self, raw: bytes, *recipients: str) -> str:
        await self.command("MAIL FROM:<noreply@google.test>")
        for recipient in recipients:
            reply = await self.command(f"RCPT TO:<{recipient}>")
            if not reply.startswith("250"):
                return reply
        reply = await self.command("DATA")
        if not reply.startswith("354"):
            return reply
        self.writer.write(raw.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return await self.reply()


@asynccontextmanager
async def smtp(port: int, *, greet: bool = True) -> AsyncIterator[SmtpClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = SmtpClient(reader, writer)
    try:
        if greet:
            await client.reply()
            await client.command("EHLO client.test")
        yield client
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@dataclass
class _Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode()

    def on_message_complete(self) -> None:
        self.complete = True


async def request(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> _Answer:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="reports.localhost"
    )
    head = {"Host": "reports.localhost", "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"{name}: {value}" for name, value in (head | (headers or {})).items() if value]
    writer.write(f"{method} {path} HTTP/1.1\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not answer.complete and (data := await reader.read(65536)):
            parser.feed_data(data)
    answer.status = parser.get_status_code()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


async def post(port: int, path: str, body: bytes, *, media_type: str = "application/tlsrpt+json") -> int:
    answer = await request(port, "POST", path, body, {"Content-Type": media_type})
    return answer.status


def json_body(report: dict[str, Any]) -> bytes:
    return msgspec.json.encode(report)


@pytest.fixture
def settings_of_doors(tmp_path: Path) -> Settings:
    return Settings(
        data=str(tmp_path), reports=Reports(max_message_bytes=200_000), dns=Dns(allow_private_addresses=True)
    )


@pytest.fixture
async def house(settings_of_doors: Settings, transactional_db: None) -> AsyncIterator[House]:
    async with FakeDns() as dns:
        resolver = Resolver([dns.address], timeout_seconds=2)
        async with open_doors(settings_of_doors, resolver=resolver) as doors:
            yield House(doors, dns, settings_of_doors)


@pytest.fixture(autouse=True)
def _no_connection_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "transactional_db" in request.fixturenames:
        connections.close_all()
