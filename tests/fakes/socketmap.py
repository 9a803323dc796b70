"""A socketmap client that does what Postfix does: one question, one answer, the connection kept."""

import asyncio
from typing import Self

from mailward.core.postfix.netstring import encode


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @classmethod
    async def connect_unix(cls, path: str) -> Self:
        return cls(*await asyncio.open_unix_connection(path))

    async def ask(self, key: str, map_name: str = "QUERY") -> str:
        await self.send(encode(f"{map_name} {key}".encode()))
        return await self.receive()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> str:
        length = await self._reader.readuntil(b":")
        payload = await self._reader.readexactly(int(length[:-1]) + 1)
        assert payload.endswith(b",")
        return payload[:-1].decode()

    async def ended(self) -> bool:
        """Whether the server has closed the connection without a word."""
        return await self._reader.read() == b""

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
