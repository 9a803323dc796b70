"""Port 80: what a CA asks there before it issues (HTTP-01, RFC 8555 section 8.3), and our own question whether a name
still leads to us.

Every node answers for every order: tokens are in the database, and the proof that we are we needs none. Nothing else is
served here: RFC 8461 knows no HTTP without TLS.
"""

import asyncio
import logging
import re
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import Error as DatabaseError
from django.db import connection

from mailward.config import Settings
from mailward.core.dns.ratelimit import network_of
from mailward.net.httpserver import HttpLimits, Request, Response, Server, refusal, serve_http
from mailward.net.listening import at_port, open_streams
from mailward.net.networks import Networks
from mailward.net.reach import CHALLENGE_PATH, answer_to
from mailward.net.sealing import Keyring
from mailward.store.queries.certificates import key_authorization_of

_log = logging.getLogger("mailward.hosting")

LIMITS = HttpLimits(body_bytes=0, handler_seconds=10)
MAX_ASKED = 64
"""Questions to the database at once: a CA asks a few times for an order, strangers may ask as often as they like."""
MAX_ASKED_A_NETWORK = 8
"""Of those (IPv4 /24, IPv6 /56): a flood from one place leaves the others to the CA, which asks from several."""
MAX_HELD_A_NETWORK = 80
"""Asked, or waiting for their turn: a CA asks three or four times for each of the orders that are under way at once,
and one that is refused costs the order.
"""
# RFC 8555 §8.1: base64url, at least 128 bits of it
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}", re.ASCII)


class ChallengeHost:
    def __init__(
        self, keyring: Keyring, find: Callable[[str, str], str | None] = key_authorization_of
    ) -> None:
        self._keyring, self._find = keyring, find
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="challenges")
        self._asked = 0
        self._held: Counter[str] = Counter()
        self._turns: dict[str, asyncio.Semaphore] = {}
        """Both by network, while it has requests here."""

    async def answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"GET or HEAD\n", headers=(("Allow", "GET, HEAD"),))
        if not request.path.startswith(CHALLENGE_PATH):
            return refusal(404)
        word = request.path.removeprefix(CHALLENGE_PATH)
        proof = answer_to(self._keyring, request.host, word)
        if proof is not None:
            return Response(200, proof.encode(), content_type="text/plain")
        if not _TOKEN.fullmatch(word):
            return refusal(404)
        asker = network_of(request.peer)
        if self._held[asker] >= MAX_HELD_A_NETWORK:
            return refusal(503)
        self._held[asker] += 1
        try:
            async with self._turns.setdefault(asker, asyncio.Semaphore(MAX_ASKED_A_NETWORK)):
                return await self._ask(word, request.host)
        finally:
            self._held[asker] -= 1
            if not self._held[asker]:
                del self._held[asker], self._turns[asker]

    async def _ask(self, token: str, host: str) -> Response:
        if self._asked >= MAX_ASKED:
            return refusal(503)
        self._asked += 1
        try:
            return await self._challenge(token, host)
        finally:
            self._asked -= 1

    async def _challenge(self, token: str, host: str) -> Response:
        try:
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._thread, self._look_up, token, host)
        except DatabaseError as error:
            _log.error("challenge-not-answered", extra={"host": host, "reason": error})
            return refusal(503)
        if found is None:
            return refusal(404)
        _log.info("challenge-answered", extra={"host": host})
        # RFC 8555 §8.3: the body is the key authorization
        return Response(200, found.encode(), content_type="application/octet-stream")

    def _look_up(self, token: str, host: str) -> str | None:
        try:
            return self._find(token, host)
        except DatabaseError:
            connection.close()
            raise

    def close(self) -> None:
        """Nothing is asked any more; a question that is under way may end."""
        self._thread.submit(connection.close)
        self._thread.shutdown(wait=False)


async def serve_challenges(
    settings: Settings,
    host: ChallengeHost,
    *,
    port: int | None = None,
    sockets: Sequence[socket.socket] = (),
) -> Server:
    """On `sockets`, or else at the settings' addresses. Raises OSError where one cannot be had."""
    return await serve_http(
        host.answer,
        sockets=sockets or open_streams(at_port(settings.acme_places, port)),
        limits=LIMITS,
        is_proxy=Networks(settings.acme.http_proxies).include,
    )
