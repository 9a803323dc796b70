"""What the world does meanwhile, steadily: fetches policies, asks DNS by both ways, sends reports by both doors."""

import asyncio
import contextlib
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import json_body, post, smtp
from tests.upgrade.installation import ADDRESS, DOMAIN, POLICY, TOKEN, ZONE, Installation

PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 240.0
"""Mail servers wait five minutes (RFC 5321 section 4.5.3.2); on an idle machine, seconds are enough."""
HOST = f"mta-sts.{DOMAIN}"


class Failed(Exception):
    """It was answered, but not as it should be."""


@dataclass
class Load:
    installation: Installation
    done: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds that one had to wait for its answer."""
    failures: list[str] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    """Reports that were answered with 250 or 201."""
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))
    stopping: bool = False
    udp_seconds: float = PATIENCE_SECONDS
    """A question by UDP that is lost is waited for so long."""

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Inside the block; what is under way at its end is waited for."""
        self.stopping = False
        kinds = (self.fetch, self.ask_by_udp, self.ask_by_tcp, self.mail, self.post)
        loops = [asyncio.create_task(self._go_on(kind)) for kind in kinds]
        try:
            yield
        finally:
            self.stopping = True
            await asyncio.gather(*loops)

    async def _go_on(self, kind: Callable[[], Awaitable[None]]) -> None:
        name = kind.__name__
        while not self.stopping:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await kind()
                self.done[name] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure that is told
                self.failures.append(f"{name}: {type(error).__name__} {error}")
            self.longest[name] = max(self.longest[name], time.monotonic() - begun)
            await asyncio.sleep(PAUSE_SECONDS)

    async def enough(self, more: int = 5) -> None:
        """Until each kind was done so many times more."""
        wanted = {
            name: self.done[name] + more for name in ("fetch", "ask_by_udp", "ask_by_tcp", "mail", "post")
        }
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(self.done[name] < count for name, count in wanted.items()):  # noqa: ASYNC110 - five loops, one look
                await asyncio.sleep(0.05)

    async def fetch(self) -> None:
        context = ssl.create_default_context(cafile=str(self.installation.data / "ca" / "ca.pem"))
        port = self.installation.ports["POLICY_HOST_PORT"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOST)
        request = f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = (await reader.read()).decode()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        if not (answer.startswith("HTTP/1.1 200 ") and answer.endswith(POLICY)):
            raise Failed(answer[:200])

    async def ask_by_udp(self) -> None:
        # a resolver asks again; here the one question is waited for
        await self._ask(dns.asyncquery.udp, self.udp_seconds)

    async def ask_by_tcp(self) -> None:
        await self._ask(dns.asyncquery.tcp, PATIENCE_SECONDS)

    async def _ask(self, way: Callable[..., Awaitable[dns.message.Message]], seconds: float) -> None:
        port = self.installation.ports["NAMESERVER_PORT"]
        answer = await way(dns.message.make_query(ZONE, "SOA"), "127.0.0.1", port=port, timeout=seconds)
        if answer.rcode() != dns.rcode.NOERROR or not answer.answer:
            raise Failed(answer.to_text())

    async def mail(self) -> None:
        report_id = f"mail {next(self.numbers)}"
        async with smtp(self.installation.ports["REPORTS_SMTP_PORT"]) as client:
            reply = await client.send(google_mail(report_json(report_id=report_id)), ADDRESS)
        if not reply.startswith("250"):
            raise Failed(reply)
        self.acknowledged.add(report_id)

    async def post(self) -> None:
        report_id = f"post {next(self.numbers)}"
        body = json_body(report_json(report_id=report_id))
        status = await post(self.installation.ports["REPORTS_HTTPS_PORT"], f"/v1/tlsrpt/{TOKEN}", body)
        if status != 201:
            raise Failed(str(status))
        self.acknowledged.add(report_id)

    @property
    def told(self) -> str:
        return ", ".join(
            f"{name} {self.done[name]} (longest {self.longest[name]:.1f} s)" for name in self.done
        )
