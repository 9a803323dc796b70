"""The endpoint of the whole installation: /metrics for Prometheus, and how each process is, for load balancers.

Its server runs in the supervisor, which asks its children over a socket that each was given at its start. One target a
node, whatever runs on it; a process that does not answer is missing from the page, and `mailward_up` says so.
"""

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import msgspec

from mailward.config import Settings
from mailward.core.metrics import catalogue
from mailward.core.metrics.family import Family
from mailward.core.metrics.health import Health
from mailward.core.metrics.page import CONTENT_TYPE, render_page
from mailward.core.places import parse_place, show_place
from mailward.doctor.backups import newest_backup
from mailward.net.httpserver import HttpLimits, Request, Response, refusal, serve_http
from mailward.net.metrics import HEALTH, NUMBERS, REPLY, build_info

_log = logging.getLogger("mailward.supervisor")

ANSWER_SECONDS = 2.0
MAX_REPLY_BYTES = 8 * 1024 * 1024
_LIMITS = HttpLimits(head_bytes=4096, body_bytes=0, connections=64, pipelined=2)
_SILENT = Health(live=False, ready=False, reasons=("it does not answer",))


class Line:
    """The supervisor's end of the socket to one child."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._asked: dict[bytes, asyncio.Future[bytes]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def ask(self, what: bytes) -> bytes | None:
        """The reply; None where none came in time. Who asks meanwhile gets the same one."""
        if self._writer is None:
            reader, self._writer = await asyncio.open_connection(sock=self._end)
            self._reading = asyncio.create_task(self._read(reader))
        pending = self._asked.get(what)
        if pending is None:
            pending = self._asked[what] = asyncio.get_running_loop().create_future()
            self._writer.write(what)
        try:
            return await asyncio.wait_for(asyncio.shield(pending), ANSWER_SECONDS)
        except (TimeoutError, OSError):
            return None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                what, size = REPLY.unpack(await reader.readexactly(REPLY.size))
                if size > MAX_REPLY_BYTES:
                    raise OSError("too long a reply")
                reply = await reader.readexactly(size)
                self._asked.pop(what).set_result(reply)
        except (OSError, EOFError, KeyError):
            pass  # it has ended
        finally:
            for pending in self._asked.values():
                pending.cancel()

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()
        self._end.close()


class Lines:
    """To all children, by their names."""

    def __init__(self, *, are_wanted: bool = True) -> None:
        self._are_wanted = are_wanted
        self._lines: dict[str, Line] = {}

    @contextmanager
    def open(self, name: str) -> Iterator[socket.socket | None]:
        """The end for a child that is started inside the block; an earlier one of that name is forgotten."""
        if not self._are_wanted:
            yield None
            return
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        if (earlier := self._lines.pop(name, None)) is not None:
            earlier.close()
        self._lines[name] = Line(ours)
        with theirs:
            yield theirs

    async def ask(self, what: bytes, names: Sequence[str]) -> Mapping[str, bytes | None]:
        replies = await asyncio.gather(*(self._ask(name, what) for name in names))
        return dict(zip(names, replies, strict=True))

    async def _ask(self, name: str, what: bytes) -> bytes | None:
        line = self._lines.get(name)
        if line is None:
            return None
        try:
            return await line.ask(what)
        except (OSError, asyncio.CancelledError):  # it ended meanwhile
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return None

    def close(self) -> None:
        for line in self._lines.values():
            line.close()


class Endpoint:
    def __init__(
        self, settings: Settings, lines: Lines, names: Sequence[str], starts: Mapping[str, int]
    ) -> None:
        """`starts`: how often each child was started, counted elsewhere."""
        self._settings, self._lines = settings, lines
        self._names, self._starts = tuple(names), starts
        self._looking: Future[datetime | None] | None = None
        """For the newest backup."""

    async def answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return refusal(405)
        match request.path.strip("/").split("/"):
            case ["metrics"]:
                return Response(200, await self._page(), CONTENT_TYPE)
            case ["healthz"]:
                return self._whole(await self._health(self._names))
            case ["health", name, "live" | "ready" as what] if name in self._names:
                return _one((await self._health([name]))[name], what)
        return refusal(404)

    async def _page(self) -> bytes:
        replies = await self._lines.ask(NUMBERS, self._names)
        families = [build_info()]
        families.append(catalogue.UP.of({(name,): reply is not None for name, reply in replies.items()}))
        families.append(catalogue.STARTS.of({(name,): count for name, count in self._starts.items()}))
        if (backup := await self._newest_backup()) is not None:
            families.append(catalogue.BACKUP.one(backup.timestamp()))
        for reply in replies.values():
            if reply is not None:
                families += msgspec.msgpack.decode(reply, type=list[Family])
        return render_page(families)

    async def _newest_backup(self) -> datetime | None:
        """None too where the folder does not answer in time. In a thread, and one at a time: it may be on a network
        file system whose server is away, and the watchdog is fed by this loop.
        """
        if self._looking is None:
            self._looking = Future()
            work = (self._looking, self._settings)
            threading.Thread(target=_look_for_backup, args=work, name="backups", daemon=True).start()
        try:
            found = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._looking)), ANSWER_SECONDS)
        except TimeoutError:
            return None
        self._looking = None
        return found

    async def _health(self, names: Sequence[str]) -> Mapping[str, Health]:
        replies = await self._lines.ask(HEALTH, names)
        return {
            name: _SILENT if reply is None else msgspec.msgpack.decode(reply, type=Health)
            for name, reply in replies.items()
        }

    def _whole(self, found: Mapping[str, Health]) -> Response:
        """200 where every process is ready; 503 where one is not."""
        is_ready = all(each.ready for each in found.values())
        degraded = any(each.degraded for each in found.values())
        status = "failing" if not is_ready else "degraded" if degraded else "ok"
        body = {
            "status": status,
            "services": {name: msgspec.to_builtins(each) for name, each in found.items()},
        }
        return _json(200 if is_ready else 503, body)


def _look_for_backup(found: "Future[datetime | None]", settings: Settings) -> None:
    try:
        found.set_result(newest_backup(settings))
    except OSError:
        found.set_result(None)


def _one(health: Health, what: str) -> Response:
    is_so = health.live if what == "live" else health.ready
    return _json(200 if is_so else 503, msgspec.to_builtins(health))


def _json(status: int, body: object) -> Response:
    return Response(
        status, (json.dumps(body) + "\n").encode(), "application/json", (("Cache-Control", "no-store"),)
    )


@asynccontextmanager
async def serving(listen: Sequence[str], endpoint: Endpoint) -> AsyncIterator[None]:
    """At each `address:port` that can be had: policies matter more than numbers."""
    servers = []
    for text in listen:
        try:
            address, port = parse_place(text)
            server = await serve_http(endpoint.answer, listen=address, port=port, limits=_LIMITS)
        except (OSError, ValueError) as error:
            _log.error("metrics-not-served", extra={"listen": text, "reason": str(error)})
            continue
        servers.append(server)
        _log.info("metrics-served", extra={"listen": show_place((address, server.port))})
    try:
        yield
    finally:
        for server in servers:
            with contextlib.suppress(OSError):
                await server.close(grace_seconds=1)
