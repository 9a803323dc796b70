"""JSON in a column: as it is, or deflated where there is much of it.

A report of 20 KiB may unpack to 25 MiB (the limit), most of it the same again and again. Kept so, a stranger would
fill our disk a thousand times faster than he can send.
"""

import zlib

PLAIN_BYTES = 16 * 1024
"""Ordinary reports have less, and stay readable to whoever looks into the database."""
_LEVEL = 1


def pack(json: bytes) -> bytes:
    """What `unpack` undoes. JSON never begins with zlib's first byte, an "x"."""
    return json if len(json) <= PLAIN_BYTES else zlib.compress(json, _LEVEL)


def unpack(stored: bytes) -> bytes:
    """The JSON. Trusts its size: what was packed had passed the limits of the reader."""
    return zlib.decompress(stored) if stored[:1] == b"x" else stored
