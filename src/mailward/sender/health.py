"""The daemon's own small HTTP server: /metrics for Prometheus, /healthz for whoever watches. Loopback by default."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from mailward.core.metrics.page import CONTENT_TYPE
from mailward.net import clock
from mailward.net.httpserver import HttpLimits, Request, Response, Server, refusal, serve_http
from mailward.sender.answers import Answers
from mailward.sender.cache import CacheError
from mailward.sender.census import Census, take_census
from mailward.sender.exposition import Deferred, Scene, render_page
from mailward.sender.signalnumbers import SignalNumbers

logger = logging.getLogger("mailward.sender")

CENSUS_SECONDS = 15.0  # a scraper that asks more often gets the same numbers of the cache
_LIMITS = HttpLimits(head_bytes=4096, body_bytes=0, connections=64, pipelined=2)


class Health:
    def __init__(self, answers: Answers, cache_path: Path, mode: str) -> None:
        self._answers = answers
        self._cache_path = cache_path
        self._mode = mode
        self._started_at = clock.now().timestamp()
        self._census: Census | None = None
        self._census_at = float("-inf")
        self._lock = asyncio.Lock()
        self.deferred: Callable[[], Mapping[str, Deferred]] = dict
        """What waits in Postfix's queue because of us, as it was last seen."""
        self.signals: SignalNumbers | None = None
        """None: no reports are made."""

    async def start(self, place: str, offset: int = 0) -> Server | None:
        """None where the port cannot be had: mail matters more than its numbers. `offset` is added to the port."""
        address, _, port = place.rpartition(":")
        try:
            server = await serve_http(
                self.answer, listen=address.strip("[]"), port=int(port) + offset, limits=_LIMITS
            )
        except (OSError, OverflowError) as error:
            logger.error("metrics-not-served", extra={"listen": place, "reason": str(error)})
            return None
        logger.info("metrics-served", extra={"listen": f"{address}:{server.port}"})
        return server

    async def answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return refusal(405)
        if request.path == "/metrics":
            return Response(200, render_page(await self._scene()), CONTENT_TYPE)
        if request.path == "/healthz":
            return self._health(await self._take_census())
        return refusal(404)

    def _health(self, census: Census | None) -> Response:
        """503 where the cache cannot be read: then domains are deferred. DANE that is off is no illness."""
        state = {
            "status": "ok" if census is not None else "cache-unreadable",
            "mode": self._mode,
            "dane": "on" if self._answers.knowledge.dane.is_on else "off",
            "policies": census.live if census else None,
            "refreshes_failing": census.failing_refreshes if census else None,
            "policies_damaged": self._answers.knowledge.damaged_count,
        }
        body = (json.dumps(state) + "\n").encode()
        return Response(200 if census is not None else 503, body, "application/json")

    async def _scene(self) -> Scene:
        answers = self._answers
        return Scene(
            answers.metrics,
            dane_on=answers.knowledge.dane.is_on,
            overrides=answers.override_count,
            mode=self._mode,
            started_at=self._started_at,
            census=await self._take_census(),
            deferred=self.deferred(),
            signals=self.signals.all() if self.signals else {},
        )

    async def _take_census(self) -> Census | None:
        async with self._lock:
            if clock.monotonic() - self._census_at >= CENSUS_SECONDS:
                now = int(clock.now().timestamp())
                try:
                    self._census = await asyncio.to_thread(take_census, self._cache_path, now)
                except CacheError as error:
                    logger.error("cache-unreadable", extra={"reason": str(error)})
                    self._census = None
                self._census_at = clock.monotonic()
            return self._census
