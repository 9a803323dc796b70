"""The site's own table of TLS policies, asked in shadow mode so that Postfix goes on as before.

Two kinds, both without running a program: another socketmap server (such as the one that Mailward shall replace)
and a text file. `postmap -q` would cost a process for each question, and must run where Postfix's configuration
is readable; a hash or lmdb file is better left in smtp_tls_policy_maps, after or before us: Postfix asks table by
table, and a shadow that says NOTFOUND hides none.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Protocol

from mailward.core.postfix import netstring, socketmap
from mailward.core.postfix.netstring import NetstringError

ASK_SECONDS = 4.5  # Postfix is promised an answer in five
MAX_IDLE = 64  # connections kept to the other server
MAX_FILE_BYTES = 16 * 1024 * 1024


class SiteTableInvalid(Exception):
    """The setting, or the file that it names, cannot be used."""

    code = "site-table"


class SiteTable(Protocol):
    async def ask(self, key: bytes) -> bytes:
        """The reply, as a socketmap server gives it; TEMP where the table cannot be asked."""

    async def close(self) -> None: ...


class NoTable:
    """Postfix decides by what else it has."""

    async def ask(self, key: bytes) -> bytes:
        return socketmap.NOTFOUND

    async def close(self) -> None:
        """Nothing is open."""


class SocketmapTable:
    """Another server's map. Its reply is handed on as it is, errors too: they are what Postfix would have got."""

    def __init__(self, place: str) -> None:
        """`inet:host:port:name` or `unix:/path:name`. Raises SiteTableInvalid."""
        kind, _, rest = place.partition(":")
        self._address, _, name = rest.rpartition(":")
        self._name = name.encode("ascii", "replace")
        self._is_unix = kind == "unix"
        if kind not in ("inet", "unix") or not self._address or not name:
            raise SiteTableInvalid(f"{place!r} is neither inet:host:port:name nor unix:/path:name")
        if not self._is_unix and not self._address.rpartition(":")[2].isdigit():
            raise SiteTableInvalid(f"{place!r} has no port")
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, key: bytes) -> bytes:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await self._ask(key)
        except (OSError, EOFError, NetstringError, TimeoutError) as error:
            return socketmap.temp(f"shadow_table {self._address}: {error or type(error).__name__}")

    async def close(self) -> None:
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()

    async def _ask(self, key: bytes) -> bytes:
        question = netstring.encode(self._name + b" " + key)
        while self._idle:
            connection = self._idle.pop()
            with contextlib.suppress(OSError, EOFError):  # it was idle for too long: the next, or a new one
                return await self._exchange(connection, question)
        return await self._exchange(await self._connect(), question)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        limit = socketmap.MAX_REPLY_BYTES + netstring.MAX_DIGITS + 2
        if self._is_unix:
            return await asyncio.open_unix_connection(self._address, limit=limit)
        host, _, port = self._address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), limit=limit)

    async def _exchange(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], question: bytes
    ) -> bytes:
        reader, writer = connection
        try:
            writer.write(question)
            await writer.drain()
            reply = await _read_reply(reader)
        except BaseException:
            writer.close()
            raise
        if len(self._idle) < MAX_IDLE:
            self._idle.append(connection)
        else:
            writer.close()
        return reply


async def _read_reply(reader: asyncio.StreamReader) -> bytes:
    """The payload of one netstring. Raises OSError, EOFError or NetstringError."""
    try:
        digits = (await reader.readuntil(b":"))[:-1]
    except asyncio.LimitOverrunError as error:
        raise NetstringError("the reply is no netstring") from error
    if not digits.isdigit() or len(digits) > netstring.MAX_DIGITS:
        raise NetstringError("the reply is no netstring")
    length = int(digits)
    if length > socketmap.MAX_REPLY_BYTES:
        raise NetstringError(f"the reply is longer than {socketmap.MAX_REPLY_BYTES} bytes")
    payload = await reader.readexactly(length + 1)
    if payload[-1:] != b",":
        raise NetstringError("the reply does not end with a comma")
    return payload[:-1]


class TextTable:
    """A file as Postfix's texthash: has it: `key value`, comments, lines that go on after white space."""

    def __init__(self, path: Path) -> None:
        """Raises SiteTableInvalid."""
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._entries: dict[bytes, bytes] = {}
        self._read()

    async def ask(self, key: bytes) -> bytes:
        try:
            self._read()
        except SiteTableInvalid as error:
            return socketmap.temp(f"shadow_table: {error}")
        value = self._entries.get(key.lower())
        return socketmap.NOTFOUND if value is None else socketmap.ok(value)

    async def close(self) -> None:
        """Nothing is open."""

    def _read(self) -> None:
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return
            with self._path.open("rb") as stream:
                text = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise SiteTableInvalid(f"{self._path}: {error.strerror or error}") from error
        if len(text) > MAX_FILE_BYTES:
            raise SiteTableInvalid(f"{self._path} is larger than {MAX_FILE_BYTES} bytes")
        self._entries = parse_texthash(text)
        self._stamp = stamp


def parse_texthash(text: bytes) -> dict[bytes, bytes]:
    """Key (in lower case) -> value. Of a doubled key the last holds, as in Postfix."""
    logical: list[bytes] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        if line[:1].isspace() and logical:
            logical[-1] += b" " + line.strip()
        else:
            logical.append(line.strip())
    entries = {}
    for line in logical:
        key, *value = line.split(None, 1)
        if value:
            entries[key.lower()] = value[0].strip()
    return entries


def open_site_table(setting: str) -> SiteTable:
    """Raises SiteTableInvalid."""
    if not setting:
        return NoTable()
    kind, _, rest = setting.partition(":")
    if kind == "socketmap":
        return SocketmapTable(rest)
    if kind == "texthash":
        return TextTable(Path(rest))
    raise SiteTableInvalid(f"shadow_table {setting!r} begins neither with socketmap: nor with texthash:")
