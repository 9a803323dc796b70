"""What a report comes wrapped in: gzip, gzip in gzip, zip, base64. All is inflated against one budget."""

import binascii
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from mailward.core.tlsrpt.deviations import Notes
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import Limits

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
GZIP_WRAPPER = 31  # zlib's code for: a gzip header, the largest window

WHOLE = "file"
"""The place of what is said of a file as such."""

_MAX_LAYERS = 4
_MAX_GZIP_MEMBERS = 100  # zlib copies the rest for each: more would be quadratic work
_MEMBER_NAMES = (".json", ".gz", ".eml")
_ENCRYPTED = 0x1
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # bzip2 and LZMA: never seen, and need much memory
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=\s]")


@dataclass(slots=True)
class Budget:
    """How many bytes one file or mail may still unpack to."""

    left: int
    limit: int

    @classmethod
    def of(cls, limits: Limits) -> "Budget":
        return cls(limits.max_inflated_bytes, limits.max_inflated_bytes)

    def take(self, size: int) -> None:
        if size > self.left:
            self.left = 0  # never below: zlib takes a limit of 0 for none at all
            raise Unreadable("too-large", f"it unpacks to more than {self.limit} bytes")
        self.left -= size


@dataclass(frozen=True, slots=True)
class Document:
    content: bytes
    where: str
    damage: str = ""
    """Slug of what broke off the content, if anything did; it may be whole all the same."""


def unpack(
    data: bytes,
    budget: Budget,
    notes: Notes,
    limits: Limits,
    *,
    name: str = "",
    where: str = "",
    layers: int = _MAX_LAYERS,
) -> Iterator[Document]:
    """The documents in `data`, as they are found. Raises Unreadable."""
    if layers == 0:
        raise Unreadable("too-deep", f"it is packed more than {_MAX_LAYERS} times")
    if data.startswith(GZIP_MAGIC):
        content, damage = gunzip(data, budget, notes, where)
        if content.startswith(GZIP_MAGIC):
            notes.add("double-gzip", where or WHOLE)
        if content.startswith((GZIP_MAGIC, *ZIP_MAGICS)):
            yield from unpack(content, budget, notes, limits, where=where, layers=layers - 1)
        else:
            yield Document(content, where, damage)
        return
    if name.lower().endswith(".gz"):
        notes.add("gzip-name-but-plain", where or WHOLE, name)
    if data.startswith(ZIP_MAGICS):
        notes.add("zip-container", where or WHOLE)
        yield from _unpack_zip(data, budget, notes, limits, where, layers)
    elif (inner := _decode_bare_base64(data)) is not None:
        notes.add("bare-base64", where or WHOLE)
        yield from unpack(inner, budget, notes, limits, where=where, layers=layers - 1)
    else:
        budget.take(len(data))
        yield Document(data, where)


def gunzip(data: bytes, budget: Budget, notes: Notes, where: str) -> tuple[bytes, str]:
    """The content and, if it was cut off, the slug that says so. Stops inflating at the budget."""
    pieces: list[bytes] = []
    rest = data
    while True:
        inflater = zlib.decompressobj(GZIP_WRAPPER)
        try:
            piece = inflater.decompress(rest, budget.left + 1)
        except zlib.error as error:
            if not pieces:
                raise Unreadable("gzip-corrupt", str(error)) from None
            notes.add("gzip-trailing-data", where or WHOLE, f"{len(rest)} bytes")
            break
        budget.take(len(piece))
        pieces.append(piece)
        rest = inflater.unused_data
        if not inflater.eof:
            return b"".join(pieces), "gzip-truncated"
        if not rest.startswith(GZIP_MAGIC):
            if rest:
                notes.add("gzip-trailing-data", where or WHOLE, f"{len(rest)} bytes")
            break
        if len(pieces) == _MAX_GZIP_MEMBERS:
            raise Unreadable("too-many", f"the gzip file has more than {_MAX_GZIP_MEMBERS} members")
    if len(pieces) > 1:
        notes.add("gzip-multi-member", where or WHOLE, f"{len(pieces)} members")
    return b"".join(pieces), ""


def _unpack_zip(
    data: bytes, budget: Budget, notes: Notes, limits: Limits, where: str, layers: int
) -> Iterator[Document]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in _report_members(archive, limits):
                place = f"{where}/{member.filename}" if where else member.filename
                content = _read_member(archive, member, budget)
                budget.left += len(content)  # counted again by what it holds
                yield from unpack(
                    content, budget, notes, limits, name=member.filename, where=place, layers=layers - 1
                )
    # the zipfile module raises all of these for archives made to confuse it
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        LookupError,
        struct.error,
    ) as e:
        raise Unreadable("zip-corrupt", f"the zip archive cannot be read: {e}"[:200]) from None


def _report_members(archive: zipfile.ZipFile, limits: Limits) -> list[zipfile.ZipInfo]:
    members = [
        # not is_dir(), which looks for the last letter of a name that may have none (Python 3.11)
        member
        for member in archive.infolist()
        if not member.filename.endswith("/")
    ]
    if len(members) > limits.max_members:
        raise Unreadable("too-many", f"the zip archive has more than {limits.max_members} members")
    if len({member.header_offset for member in members}) < len(members):
        raise Unreadable("zip-corrupt", "the zip archive lists the same bytes as several members")
    return [member for member in members if member.filename.lower().endswith(_MEMBER_NAMES)] or members


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> bytes:
    if member.flag_bits & _ENCRYPTED:
        raise Unreadable("encrypted-zip", "the zip archive is encrypted")
    if member.compress_type not in _COMPRESSIONS:
        raise Unreadable("zip-corrupt", "the zip archive uses a compression other than deflate")
    with archive.open(member) as stream:
        content = stream.read(budget.left + 1)
    budget.take(len(content))
    return content


def _decode_bare_base64(data: bytes) -> bytes | None:
    """What base64 text holds, if it is one and holds something that a report comes in."""
    start = data[:64].lstrip()[:8]
    if len(start) < 8 or _NOT_BASE64.search(start) or _NOT_BASE64.search(data):
        return None
    try:
        content = binascii.a2b_base64(data)
    except binascii.Error:
        return None
    return content if content.startswith((GZIP_MAGIC, *ZIP_MAGICS, b"{", b"[")) else None
