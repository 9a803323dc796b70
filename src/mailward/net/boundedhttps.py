"""HTTPS by `requests`, for libraries that are built on it, with bounds that hold whatever the peer does.

The time-outs of `requests` are for each read: a peer that sends one octet a second, in its TLS handshake, its header or
its body, keeps a thread for ever. Here a timer ends the connection itself once the time of a step is over.

    with adapter.step(30.0):
        session.get(...)       # as many requests as one step takes; requests.RequestException
"""

import contextlib
import io
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0
MAX_BYTES = 1024 * 1024
_PIECE = 16 * 1024


class _Cutter:
    """Ends all connections of a client when its time is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: WeakSet[socket.socket] = WeakSet()
        self._is_over = False
        self._step = 0

    @contextlib.contextmanager
    def step(self, seconds: float) -> Iterator[None]:
        with self._lock:
            self._step, self._is_over = self._step + 1, False
            timer = threading.Timer(seconds, self._cut, (self._step,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:  # a timer that runs at this moment is not the next step's
                self._step += 1

    @property
    def is_over(self) -> bool:
        return self._is_over

    def hold(self, connection: socket.socket) -> socket.socket:
        """A second handle of the connection, for the first one moves into the TLS socket, which nobody has before its
        handshake is done.
        """
        with self._lock:
            held = connection.dup()
            self._held.add(held)
            if self._is_over:
                _shut(held)
        return held

    def _cut(self, step: int) -> None:
        with self._lock:
            if step != self._step:
                return
            self._is_over = True
            for held in self._held:
                _shut(held)


def _shut(held: socket.socket) -> None:
    # of the connection, not of the handle: whoever waits for it is woken
    with contextlib.suppress(OSError):
        held.shutdown(socket.SHUT_RDWR)


def _pool_of(cutter: _Cutter) -> type[HTTPSConnectionPool]:
    class Connection(HTTPSConnection):
        held: socket.socket | None = None

        def _new_conn(self) -> socket.socket:
            connection = super()._new_conn()
            self.held = cutter.hold(connection)
            return connection

        def close(self) -> None:
            super().close()
            if self.held is not None:
                self.held.close()

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


class BoundedAdapter(HTTPAdapter):
    """`look`: is shown each response before its body is read."""

    def __init__(self, look: Callable[[requests.Response], None]) -> None:
        self._look, self._cutter, self._depth, self._seconds = look, _Cutter(), 0, 0.0
        super().__init__()

    @contextlib.contextmanager
    def step(self, seconds: float) -> Iterator[None]:
        """All that is asked within ends within so long; a step within a step is part of it."""
        if self._depth:
            yield
            return
        self._depth, self._seconds = 1, seconds
        try:
            with self._cutter.step(seconds):
                yield
        finally:
            self._depth = 0

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as the library has it
        super().init_poolmanager(*args, **options)
        self._bind(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the library has it
        manager = super().proxy_manager_for(*args, **options)
        self._bind(manager)
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:  # noqa: ANN401 - as the library has it
        options |= {"stream": True, "timeout": (CONNECT_SECONDS, READ_SECONDS)}
        try:
            if self._cutter.is_over:
                raise requests.Timeout
            response = super().send(request, *args, **options)
            self._look(response)
            body = _read(response)
        except requests.RequestException as error:
            if self._cutter.is_over:
                raise requests.Timeout(f"no whole answer within {self._seconds:g} seconds") from error
            raise
        if self._cutter.is_over:
            # an answer that says no length ends where the connection does
            raise requests.Timeout(f"no whole answer within {self._seconds:g} seconds")
        response.raw = io.BytesIO()
        response._content = body
        return response

    def _bind(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": _pool_of(self._cutter)}


def _read(response: requests.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > MAX_BYTES:
            response.close()
            raise requests.RequestException(f"the response is larger than {MAX_BYTES} bytes")
    return bytes(body)
