"""A small mutational fuzzer: seeds, cut and joined and spoilt, for a share of the time that all targets have.

FUZZ_SECONDS is for all targets together (20 in `make test`, 60 in `make test-all`); FUZZ_SEED makes other inputs than
the usual ones.
"""

import os
import random
import time
from collections.abc import Callable, Sequence

TARGETS = 11
SECONDS = float(os.environ.get("FUZZ_SECONDS", "20")) / TARGETS
SEED = int(os.environ.get("FUZZ_SEED", "1"))
MIN_INPUTS = 200  # a slow machine tries some all the same
_INTERESTING = (
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b",",
    b":",
    b";",
    b"{",
    b"}",
    b"=",
    b"*",
    b".",
    b"\\",
    b'"',
    b"\xff",
    b"0",
)
_MAX_BYTES = 70_000


def fuzz(seeds: Sequence[bytes], tokens: Sequence[bytes], check: Callable[[bytes], None]) -> None:
    """Raises AssertionError with the input on whatever `check` raises."""
    chance = random.Random(SEED)
    until = time.monotonic() + SECONDS
    pool = list(seeds)
    tried = 0
    while tried < MIN_INPUTS or time.monotonic() < until:
        data = pool[tried] if tried < len(pool) else mutate(chance, pool, tokens)
        tried += 1
        try:
            check(data)
        except Exception as error:
            raise AssertionError(f"input {data[:2000]!r}") from error


def mutate(chance: random.Random, pool: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    data = bytearray(chance.choice(pool))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice((1, 2, 8, 64)))
        match chance.randrange(7):
            case 0:
                data[at:end] = b""
            case 1:
                data[at:at] = chance.choice((*tokens, *_INTERESTING))
            case 2:
                data[at:end] = chance.choice((*tokens, *_INTERESTING))
            case 3:
                data[at:at] = chance.randbytes(chance.choice((1, 2, 16)))
            case 4:
                data[at:at] = data[at:end] * chance.choice((1, 2, 10, 300))
            case 5:
                data[at:] = chance.choice(pool)[at:]
            case _ if data:
                data[min(at, len(data) - 1)] ^= 1 << chance.randrange(8)
            case _:
                pass
    return bytes(data[:_MAX_BYTES])
