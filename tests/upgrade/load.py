"""What the world does meanwhile, steadily: fetches policies, asks DNS by both ways, sends reports by both doors."""

import asyncio
import contextlib
import itertools
import ssl
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import json_body, post, smtp
from tests.upgrade.installation import ADDRESS, DOMAIN, TOKEN, ZONE, Installation, policy

PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 240.0
"""Mail servers wait five minutes (RFC 5321 section 4.5.3.2); on an idle machine, seconds are enough."""
HOST = f"mta-sts.{DOMAIN}"
Kind = Callable[[Installation, int], Awaitable[None]]
"""To one node; each turn is another."""


class Failed(Exception):
    """It was answered, but not as it should be."""


@dataclass(frozen=True)
class Refusal:
    """One node did not serve, or not as it should."""

    node: str
    kind: str
    reason: str
    at: float


@dataclass
class Load:
    nodes: Sequence[Installation]
    """Asked in turns; who is refused by one goes to the next at once, as by the addresses or MX of a name."""
    versions: set[int] = field(default_factory=lambda: {1})
    """Of the policy, that may be served now."""
    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and node."""
    longest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds that one had to wait for its answer."""
    without: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds from one answer to the next. With one node: in which nobody was answered."""
    refusals: list[Refusal] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Refused by every node."""
    acknowledged: set[str] = field(default_factory=set)
    """Reports that were answered with 250 or 201."""
    served: dict[str, str] = field(default_factory=dict)
    """By node: the policy that it served last."""
    turns: dict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(itertools.count))
    """By kind."""
    stopping: bool = False
    udp_seconds: float = PATIENCE_SECONDS
    """A question by UDP that is lost is waited for so long."""

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Inside the block; what is under way at its end is waited for."""
        self.stopping = False
        loops = [asyncio.create_task(self._go_on(kind)) for kind in self.kinds]
        try:
            yield
        finally:
            self.stopping = True
            await asyncio.gather(*loops)

    async def until_served(self) -> None:
        """On its first start 0.1.0 opens its ports before it knows what to serve."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.served.keys() != {node.name for node in self.nodes}:
                for node in self.nodes:
                    with contextlib.suppress(OSError):
                        await self.fetch(node, 0)

    def forget_waits(self) -> None:
        self.longest.clear()
        self.without.clear()

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return (self.fetch, self.ask_by_udp, self.ask_by_tcp, self.mail, self.post)

    async def _go_on(self, kind: Kind) -> None:
        name, answered = kind.__name__, time.monotonic()
        while not self.stopping:
            turn = next(self.turns[name])
            begun = time.monotonic()
            is_done = await self._is_done(kind, turn)
            ended = time.monotonic()
            self.longest[name] = max(self.longest[name], ended - begun)
            if is_done:
                self.without[name] = max(self.without[name], ended - answered)
                answered = ended
            await asyncio.sleep(PAUSE_SECONDS)

    async def _is_done(self, kind: Kind, turn: int) -> bool:
        name, reasons = kind.__name__, []
        for place in range(len(self.nodes)):
            node = self.nodes[(turn + place) % len(self.nodes)]
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await kind(node, turn)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure that is told
                reasons.append(f"{type(error).__name__} {error}")
                self.refusals.append(Refusal(node.name, name, reasons[-1], time.monotonic()))
            else:
                self.done[name, node.name] += 1
                return True
        self.failures.append(f"{name}: {'; '.join(reasons)}")
        return False

    async def enough(self, more: int = 5) -> None:
        """Until each node did so many more of each kind."""
        keys = [(kind.__name__, node.name) for kind in self.kinds for node in self.nodes]
        wanted = {key: self.done[key] + more for key in keys}
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(self.done[key] < count for key, count in wanted.items()):  # noqa: ASYNC110 - five loops, one look
                await asyncio.sleep(0.05)

    def refused_by(self, node: Installation, since: int) -> list[Refusal]:
        """Of what came after the first `since` refusals."""
        return [refusal for refusal in self.refusals[since:] if refusal.node == node.name]

    async def fetch(self, node: Installation, _turn: int) -> None:
        context = ssl.create_default_context(cafile=str(node.data / "ca" / "ca.pem"))
        port = node.ports["POLICY_HOST_PORT"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOST)
        request = f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        answer = (await reader.read()).decode()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        head, _, body = answer.partition("\r\n\r\n")
        if not head.startswith("HTTP/1.1 200 ") or body not in map(policy, self.versions):
            raise Failed(answer[:200])
        self.served[node.name] = body

    async def ask_by_udp(self, node: Installation, _turn: int) -> None:
        # a resolver asks again; here the one question is waited for
        await self._ask(node, dns.asyncquery.udp, self.udp_seconds)

    async def ask_by_tcp(self, node: Installation, _turn: int) -> None:
        await self._ask(node, dns.asyncquery.tcp, PATIENCE_SECONDS)

    async def _ask(
        self, node: Installation, way: Callable[..., Awaitable[dns.message.Message]], seconds: float
    ) -> None:
        port = node.ports["NAMESERVER_PORT"]
        answer = await way(dns.message.make_query(ZONE, "SOA"), "127.0.0.1", port=port, timeout=seconds)
        if answer.rcode() != dns.rcode.NOERROR or not answer.answer:
            raise Failed(answer.to_text())

    async def mail(self, node: Installation, turn: int) -> None:
        report_id = f"mail {turn}"
        async with smtp(node.ports["REPORTS_SMTP_PORT"]) as client:
            reply = await client.send(google_mail(report_json(report_id=report_id)), ADDRESS)
        if not reply.startswith("250"):
            raise Failed(reply)
        self.acknowledged.add(report_id)

    async def post(self, node: Installation, turn: int) -> None:
        report_id = f"post {turn}"
        body = json_body(report_json(report_id=report_id))
        status = await post(node.ports["REPORTS_HTTPS_PORT"], f"/v1/tlsrpt/{TOKEN}", body)
        # 200: it was taken by the other node, whose answer got lost
        if status not in (200, 201):
            raise Failed(str(status))
        self.acknowledged.add(report_id)

    @property
    def refused_for(self) -> float:
        """Seconds from the first refusal to the last one."""
        times = [refusal.at for refusal in self.refusals]
        return max(times) - min(times) if times else 0.0

    @property
    def told(self) -> str:
        count = {name: sum(self.done[name, node.name] for node in self.nodes) for name in self.longest}
        return ", ".join(
            f"{name} {count[name]} (longest {self.longest[name]:.1f} s, between two answers {self.without[name]:.1f} s)"
            for name in self.longest
        )
