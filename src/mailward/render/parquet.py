"""Apache Parquet, as much of it as a table of optional texts, integers and booleans needs.

The format is frozen where it is used here: data pages of version 1, PLAIN values, gzip. The libraries that
write it take between 70 and 180 MB of disk, and 36 to 75 MiB of memory before the first row; a test reads ours
with DuckDB. https://github.com/apache/parquet-format has the format; its footer is Thrift's compact protocol.

    writer = ParquetWriter(file, [("domain", Kind.TEXT), ("rank", Kind.INT)])
    writer.write([("example.org", 7), ("example.net", None)])
    writer.close()
"""

import gzip
import struct
from collections.abc import Sequence
from enum import Enum
from typing import BinaryIO

_MAGIC = b"PAR1"
_OPTIONAL, _GZIP, _PLAIN, _RLE, _DATA_PAGE, _UTF8 = 1, 2, 0, 3, 0, 0
_LEVEL = 1  # of gzip
_CREATED_BY = "mailward"

Value = str | int | bool | None


class Kind(Enum):
    """The number is Parquet's own of the physical type."""

    BOOL = 0
    INT = 2
    TEXT = 6


class ParquetWriter:
    def __init__(self, file: BinaryIO, columns: Sequence[tuple[str, Kind]], about: dict[str, str]) -> None:
        """`about` goes into the file's own metadata."""
        self._file, self._columns, self._about = file, columns, about
        self._offset = file.write(_MAGIC)
        self._groups: list[bytes] = []
        self._rows = 0

    def write(self, rows: Sequence[Sequence[Value]]) -> None:
        """A row group: some thousand rows are a good size. Every row has a value for each column."""
        if not rows:
            return
        chunks, size = [], 0
        for (name, kind), values in zip(self._columns, zip(*rows, strict=True), strict=True):
            page = _encode_page(kind, values)
            packed = gzip.compress(page, _LEVEL, mtime=0)
            head = _page_header(len(values), len(page), len(packed))
            self._file.write(head)
            self._file.write(packed)
            sizes = len(head) + len(page), len(head) + len(packed)
            chunks.append(_column_chunk(name, kind, len(values), sizes, self._offset))
            self._offset += sizes[1]
            size += sizes[0]
        group = _Struct().list_of_structs(1, chunks).i64(2, size).i64(3, len(rows))
        self._groups.append(group.end())
        self._rows += len(rows)

    def close(self) -> None:
        """Write the footer; the file itself stays open."""
        schema = [_Struct().binary(4, "schema").i32(5, len(self._columns)).end()]
        for name, kind in self._columns:
            element = _Struct().i32(1, kind.value).i32(3, _OPTIONAL).binary(4, name)
            if kind is Kind.TEXT:
                element = element.i32(6, _UTF8).struct(10, _Struct().struct(1, b"\0").end())
            schema.append(element.end())
        pairs = [_Struct().binary(1, key).binary(2, value).end() for key, value in self._about.items()]
        footer = _Struct().i32(1, 1).list_of_structs(2, schema).i64(3, self._rows)
        footer = footer.list_of_structs(4, self._groups).list_of_structs(5, pairs).binary(6, _CREATED_BY)
        data = footer.end()
        self._file.write(data + struct.pack("<I", len(data)) + _MAGIC)


def _encode_page(kind: Kind, values: Sequence[Value]) -> bytes:
    present = [value for value in values if value is not None]
    levels = _definition_levels(values, len(present))
    if kind is Kind.TEXT:
        parts: list[bytes] = []
        for value in present:
            data = str(value).encode("utf-8", "replace")  # lone surrogates have no UTF-8
            parts += (len(data).to_bytes(4, "little"), data)
        body = b"".join(parts)
    elif kind is Kind.INT:
        body = struct.pack(f"<{len(present)}q", *present)
    else:
        body = _pack_bits(b"".join(b"1" if value else b"0" for value in present))
    return len(levels).to_bytes(4, "little") + levels + body


def _definition_levels(values: Sequence[Value], present: int) -> bytes:
    """Which are there: one run where all or none are, else a bit for each."""
    if present in (0, len(values)):
        return _varint(len(values) << 1) + (b"\1" if present else b"\0")
    bits = b"".join(b"0" if value is None else b"1" for value in values)
    packed = _pack_bits(bits)
    return _varint(len(packed) << 1 | 1) + packed


def _pack_bits(digits: bytes) -> bytes:
    """The first digit is the lowest bit of the first byte."""
    return int(digits[::-1], 2).to_bytes((len(digits) + 7) // 8, "little") if digits else b""


def _page_header(count: int, size: int, packed: int) -> bytes:
    data = _Struct().i32(1, count).i32(2, _PLAIN).i32(3, _RLE).i32(4, _RLE).end()
    return _Struct().i32(1, _DATA_PAGE).i32(2, size).i32(3, packed).struct(5, data).end()


def _column_chunk(name: str, kind: Kind, count: int, sizes: tuple[int, int], offset: int) -> bytes:
    meta = _Struct().i32(1, kind.value).list_of_i32(2, (_PLAIN, _RLE)).list_of_binary(3, (name,))
    meta = meta.i32(4, _GZIP).i64(5, count).i64(6, sizes[0]).i64(7, sizes[1]).i64(9, offset)
    return _Struct().i64(2, offset).struct(3, meta.end()).end()


class _Struct:
    """Thrift's compact protocol: fields in the order of their ids."""

    _I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._last = 0

    def i32(self, field: int, value: int) -> "_Struct":
        return self._field(field, self._I32, _varint(_zigzag(value)))

    def i64(self, field: int, value: int) -> "_Struct":
        return self._field(field, self._I64, _varint(_zigzag(value)))

    def binary(self, field: int, text: str) -> "_Struct":
        return self._field(field, self._BINARY, _binary(text))

    def struct(self, field: int, ended: bytes) -> "_Struct":
        return self._field(field, self._STRUCT, ended)

    def list_of_structs(self, field: int, ended: Sequence[bytes]) -> "_Struct":
        return self._list(field, self._STRUCT, ended)

    def list_of_i32(self, field: int, values: Sequence[int]) -> "_Struct":
        return self._list(field, self._I32, [_varint(_zigzag(value)) for value in values])

    def list_of_binary(self, field: int, texts: Sequence[str]) -> "_Struct":
        return self._list(field, self._BINARY, [_binary(text) for text in texts])

    def end(self) -> bytes:
        return b"".join(self._parts) + b"\0"

    def _list(self, field: int, kind: int, items: Sequence[bytes]) -> "_Struct":
        short = len(items) < 15
        head = bytes([len(items) << 4 | kind]) if short else bytes([0xF0 | kind]) + _varint(len(items))
        return self._field(field, self._LIST, head + b"".join(items))

    def _field(self, field: int, kind: int, data: bytes) -> "_Struct":
        self._parts.append(bytes([(field - self._last) << 4 | kind]) + data)
        self._last = field
        return self


def _binary(text: str) -> bytes:
    data = text.encode()
    return _varint(len(data)) + data


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
