"""Apache Parquet, as much of it as a table of optional texts, integers and booleans needs.

The format is frozen where it is used here: data pages of version 1, PLAIN values or a dictionary of them, gzip. The
libraries that write it take between 70 and 180 MB of disk, and 36 to 75 MiB of memory before the first row; a test
reads ours with DuckDB. The format: https://github.com/apache/parquet-format; its footer is Thrift's compact protocol.

    writer = ParquetWriter(file, [("domain", Kind.TEXT), ("rank", Kind.INT)])
    writer.write([("example.org", 7), ("example.net", None)])
    writer.write_columns(2, [["example.org", "example.net"], Coded([7, None], [0, 1])])
    writer.close()
"""

import gzip
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

_MAGIC = b"PAR1"
_OPTIONAL, _GZIP, _UTF8 = 1, 2, 0
_PLAIN, _RLE, _RLE_DICTIONARY = 0, 3, 8  # encodings
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_LEVEL = 1  # of gzip
_CREATED_BY = "mailward"

Value = str | int | bool | None


class Kind(Enum):
    """The number is Parquet's own of the physical type."""

    BOOL = 0
    INT = 2
    TEXT = 6


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of few values: those, and the place of each row's among them."""

    values: Sequence[Value]
    which: Sequence[int]


class ParquetWriter:
    def __init__(self, file: BinaryIO, columns: Sequence[tuple[str, Kind]], about: dict[str, str]) -> None:
        """`about` goes into the file's own metadata."""
        self._file, self._columns, self._about = file, columns, about
        self._offset = file.write(_MAGIC)
        self._groups: list[bytes] = []
        self._rows = 0

    def write(self, rows: Sequence[Sequence[Value]]) -> None:
        """A row group: some thousand rows are a good size. Every row has a value for each column."""
        if rows:
            self.write_columns(len(rows), zip(*rows, strict=True))

    def write_columns(self, count: int, columns: Iterable[Sequence[Value] | Coded]) -> None:
        """A row group of so many rows."""
        chunks, size = [], 0
        for (name, kind), values in zip(self._columns, columns, strict=True):
            chunk, taken = self._write_chunk(name, kind, count, values)
            chunks.append(chunk)
            size += taken
        group = _Struct().list_of_structs(1, chunks).i64(2, size).i64(3, count)
        self._groups.append(group.end())
        self._rows += count

    def _write_chunk(
        self, name: str, kind: Kind, count: int, values: Sequence[Value] | Coded
    ) -> tuple[bytes, int]:
        """A column of a row group: what the footer says of it, and its size before compression."""
        start, at_data, plain_size = self._offset, self._offset, 0
        coded = None if kind is Kind.BOOL else _find_code(values)  # two bits a value are few enough
        if coded is None:
            listed = [values.values[at] for at in values.which] if isinstance(values, Coded) else values
            page = _encode_page(kind, listed)
        else:
            distinct, codes = coded
            dictionary = _encode_values(kind, distinct)
            plain_size += self._write_page(dictionary, _DICTIONARY_PAGE, len(distinct))
            at_data = self._offset
            page = _encode_codes(codes, len(distinct))
        plain_size += self._write_page(page, _DATA_PAGE, count, _PLAIN if coded is None else _RLE_DICTIONARY)
        encodings = (_PLAIN, _RLE) if coded is None else (_PLAIN, _RLE, _RLE_DICTIONARY)
        meta = _Struct().i32(1, kind.value).list_of_i32(2, encodings).list_of_binary(3, (name,))
        meta = (
            meta.i32(4, _GZIP).i64(5, count).i64(6, plain_size).i64(7, self._offset - start).i64(9, at_data)
        )
        if coded is not None:
            meta = meta.i64(11, start)
        return _Struct().i64(2, start).struct(3, meta.end()).end(), plain_size

    def _write_page(self, page: bytes, kind: int, count: int, encoding: int = _PLAIN) -> int:
        """Its size before compression."""
        packed = gzip.compress(page, _LEVEL, mtime=0)
        head = _page_header(kind, count, encoding, len(page), len(packed))
        self._file.write(head)
        self._file.write(packed)
        self._offset += len(head) + len(packed)
        return len(head) + len(page)

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


def _find_code(values: Sequence[Value] | Coded) -> tuple[list[Value], list[int]] | None:
    """The distinct values, and the place of each row's among them, -1 where it has none; None where most differ."""
    given, which = (values.values, values.which) if isinstance(values, Coded) else (values, None)
    distinct = dict.fromkeys(value for value in given if value is not None)
    if not distinct or 2 * len(distinct) > len(given if which is None else which):
        return None
    places = {value: at for at, value in enumerate(distinct)}
    codes = [-1 if value is None else places[value] for value in given]
    return list(distinct), codes if which is None else [codes[at] for at in which]


def _encode_page(kind: Kind, values: Sequence[Value]) -> bytes:
    present = [value for value in values if value is not None]
    digits = (
        b"" if len(present) in (0, len(values)) else bytes([48 + (value is not None) for value in values])
    )
    return _encode_levels(digits, len(values), len(present)) + _encode_values(kind, present)


def _encode_codes(codes: Sequence[int], distinct: int) -> bytes:
    """Places in the dictionary, in one octet each, or two, or four: gzip does the rest."""
    present = [code for code in codes if code >= 0] if -1 in codes else codes
    digits = b"" if len(present) == len(codes) else bytes([48 + (code >= 0) for code in codes])
    levels = _encode_levels(digits, len(codes), len(present))
    if distinct == 1:
        return levels + b"\1" + _varint(len(present) << 1) + b"\0"
    letter, width = ("B", 8) if distinct <= 0x100 else ("H", 16) if distinct <= 0x1_0000 else ("I", 32)
    groups = -(-len(present) // 8)  # a run has a multiple of eight
    packed = array(letter, present)
    packed.extend([0] * (8 * groups - len(present)))
    if sys.byteorder == "big":
        packed.byteswap()
    return levels + bytes([width]) + _varint(groups << 1 | 1) + packed.tobytes()


def _encode_values(kind: Kind, present: Sequence[Value]) -> bytes:
    if kind is Kind.TEXT:
        parts: list[bytes] = []
        for value in present:
            data = str(value).encode("utf-8", "replace")  # lone surrogates have no UTF-8
            parts += (len(data).to_bytes(4, "little"), data)
        return b"".join(parts)
    if kind is Kind.INT:
        return struct.pack(f"<{len(present)}q", *present)
    return _pack_bits(bytes([48 + bool(value) for value in present]))


def _encode_levels(digits: bytes, count: int, present: int) -> bytes:
    """Which are there: one run where all or none are, else a bit for each (`1` in `digits`)."""
    if not digits:
        levels = _varint(count << 1) + (b"\1" if present else b"\0")
    else:
        packed = _pack_bits(digits)
        levels = _varint(len(packed) << 1 | 1) + packed
    return len(levels).to_bytes(4, "little") + levels


def _pack_bits(digits: bytes) -> bytes:
    """The first digit is the lowest bit of the first byte."""
    return int(digits[::-1], 2).to_bytes((len(digits) + 7) // 8, "little") if digits else b""


def _page_header(kind: int, count: int, encoding: int, size: int, packed: int) -> bytes:
    head = _Struct().i32(1, kind).i32(2, size).i32(3, packed)
    if kind == _DICTIONARY_PAGE:
        return head.struct(7, _Struct().i32(1, count).i32(2, encoding).end()).end()
    return head.struct(5, _Struct().i32(1, count).i32(2, encoding).i32(3, _RLE).i32(4, _RLE).end()).end()


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
