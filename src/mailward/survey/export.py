"""From the journal to files that people and programs read: each is whole, or it is the one before."""

import csv
import io
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

from mailward.core.survey.columns import COLUMNS, FORMAT, Type, Value
from mailward.core.survey.parts import OWN, SHARED, Own, Shared
from mailward.core.survey.totals import Totals
from mailward.render.cell import neutralise
from mailward.render.parquet import Coded, Kind, ParquetWriter
from mailward.survey.journal import Frame, read_frames
from mailward.survey.page import Origin, render_summary
from mailward.survey.processes import collect_seldom, prepare_processes

CSV, PARQUET, SUMMARY = "results.csv", "results.parquet", "summary.html"
GROUP_ROWS = 10_000
_GROUP_BYTES = 32 * 1024 * 1024
_KINDS = {Type.TEXT: Kind.TEXT, Type.INT: Kind.INT, Type.BOOL: Kind.BOOL}
_SPECIAL = re.compile(r"[^A-Za-z0-9]|.*[,\"\x00-\x1f]", re.DOTALL)
"""What may need more than to be written as it is: a beginning that a formula could have, what CSV quotes."""


def export(folder: Path, origin: Origin, report: Callable[[int], None]) -> Totals:
    """Write results.csv, results.parquet and summary.html. `report` is told how many more rows are written. Raises
    OSError.
    """
    # one process writes each of the two large files
    with ProcessPoolExecutor(1, prepare_processes(), _begin) as pool:
        other = pool.submit(_write_parquet, folder)
        totals = _write_csv(folder, report)
        try:
            other.result()
        except BrokenProcessPool as error:
            raise OSError(f"the process that writes {PARQUET} was killed") from error
    with _replacing_text(folder / SUMMARY) as page:
        page.write(render_summary(totals, origin))
    return totals


def _write_csv(folder: Path, report: Callable[[int], None]) -> Totals:
    totals = Totals()
    with _replacing_text(folder / CSV) as text:
        csv.writer(text, lineterminator="\r\n").writerow([column.name for column in COLUMNS])  # RFC 4180
        for group in _groups(folder):
            _add(totals, group)
            text.writelines(_lines(group))
            report(len(group.own))
    return totals


def _begin() -> None:
    collect_seldom()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all: the parent decides


def _write_parquet(folder: Path) -> None:
    with _replacing(folder / PARQUET) as binary:
        columns = [(column.name, _KINDS[column.type]) for column in COLUMNS]
        parquet = ParquetWriter(binary, columns, {"mailward.survey.format": str(FORMAT)})
        for group in _groups(folder):
            parquet.write_columns(len(group.own), _columns(group))
        parquet.close()


def _groups(folder: Path) -> Iterator[Frame]:
    """Frames put together, each shared part once."""
    own: list[Own] = []
    which: list[int] = []
    places: dict[Shared, int] = {}
    size = 0
    for frame, taken in read_frames(folder):
        here = [places.setdefault(shared, len(places)) for shared in frame.shared]
        own += frame.own
        which += [here[at] for at in frame.which]
        size += taken
        if len(own) >= GROUP_ROWS or size >= _GROUP_BYTES:
            yield Frame(own, list(places), which)
            own, which, places, size = [], [], {}, 0
    if own:
        yield Frame(own, list(places), which)


def _add(totals: Totals, group: Frame) -> None:
    providers: list[list[Value]] = [[] for _ in group.shared]
    for own, at in zip(group.own, group.which, strict=True):
        providers[at].append(own[_PROVIDERS])
    for shared, each in zip(group.shared, providers, strict=True):
        totals.add_alike(shared, each)


def _columns(group: Frame) -> list[tuple[Value, ...] | Coded]:
    """In the order of COLUMNS."""
    columns: dict[int, tuple[Value, ...] | Coded] = dict(zip(OWN, zip(*group.own, strict=True), strict=True))
    for at, values in zip(SHARED, zip(*group.shared, strict=True), strict=True):
        columns[at] = Coded(values, group.which)
    return [columns[at] for at in range(len(COLUMNS))]


_NAMES = [COLUMNS[at].name for at in OWN]
_PROVIDERS = _NAMES.index("providers")
_AFTER_TIME, _AFTER_MX = (sum(at < OWN[_NAMES.index(name)] for at in SHARED) for name in ("mx", "providers"))
"""Where the runs of shared columns end that stand before `mx`, and between it and `providers`."""


def _lines(group: Frame) -> Iterator[str]:
    """Of CSV (RFC 4180), each with its end."""
    runs = [_write_runs(shared) for shared in group.shared]
    for (line, rank, domain, at, took, mx, providers, hosts), which in zip(
        group.own, group.which, strict=True
    ):
        first, second, third = runs[which]
        yield (
            f"{line},{'' if rank is None else rank},{_write(domain)},{at},{took},"
            f"{first},{_write(mx)},{second},{_write(providers)},{_write(hosts)},{third}\r\n"
        )


def _write_runs(shared: Shared) -> tuple[str, str, str]:
    cells = [
        _write(cell) if COLUMNS[at].is_stranger else _quote(_plain(cell))
        for at, cell in zip(SHARED, shared, strict=True)
    ]
    return (
        ",".join(cells[:_AFTER_TIME]),
        ",".join(cells[_AFTER_TIME:_AFTER_MX]),
        ",".join(cells[_AFTER_MX:]),
    )


def _write(cell: Value) -> str:
    """What a stranger may have chosen."""
    text = _plain(cell)
    return _quote(str(neutralise(text))) if _SPECIAL.match(text) else text


def _plain(cell: Value) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return "" if cell is None else str(cell)


def _quote(text: str) -> str:
    if '"' in text:
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return f'"{text}"' if "," in text or "\r" in text or "\n" in text else text


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the name when it is complete, and on the disk."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


@contextmanager
def _replacing_text(path: Path) -> Iterator[TextIO]:
    with _replacing(path) as binary:
        text = io.TextIOWrapper(binary, encoding="utf-8", errors="replace", newline="")
        yield text
        text.flush()
        text.detach()
