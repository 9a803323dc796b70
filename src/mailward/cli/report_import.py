"""`mailward report import`: take report files into the platform.

Reading runs in a process of its own, so that it goes on while the other commits.
"""

import gc
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from mailward.cli.children import set_up_django
from mailward.cli.problem import Problem

if TYPE_CHECKING:
    from mailward.config import Settings
    from mailward.ingest.addresses import ReportAddress
    from mailward.store.services.incoming import Incoming, Stored

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

FIRST_BATCH = 250
"""Small, so that the other process soon has something to do; each batch doubles up to the largest."""
LARGEST_BATCH = 4_000
BATCH_BYTES = 32 * 1024 * 1024
_PIECE = 125
_PIECE_BYTES = 1024 * 1024
_BUSY_TRIES = 6
_GC_THRESHOLDS = (100_000, 20, 20)  # a batch is many small values, none of them a cycle
_EXIT_SOME_BAD = 1


class _Batch(NamedTuple):
    """What was read, or a piece of it."""

    incoming: "list[Incoming]"
    """Each with its `name`, that of the file."""
    unreachable: list[tuple[str, str]]
    """Names and reasons of files that could not even be opened."""


@dataclass(slots=True)
class _Totals:
    files: int = 0
    new: int = 0
    known: int = 0
    foreign: int = 0
    bad: int = 0


@app.command()
def import_reports(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Reports, mails, mbox, Maildir, folders of these; - is stdin."
        ),
    ],
    domain: Annotated[str, typer.Option(help="The domain whose reports these are.")] = "",
    organisation: Annotated[
        str, typer.Option(help="Name or number of an organisation, which routes them by policy domain.")
    ] = "",
    config: Annotated[
        Path | None, typer.Option(help="The settings, a TOML file.", envvar="MAILWARD_CONFIG")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="The folder of the database.", envvar="MAILWARD_DATA")
    ] = None,
) -> None:
    """Take report files in. You vouch for them: they are counted, and marked as imported.

    A file that cannot be read is named and kept in quarantine. Importing a file again changes nothing. Exit
    status: 0 all were read, 1 some were not, 2 nothing could be done.
    """
    if bool(domain) == bool(organisation):
        raise Problem("Say whose reports these are: --domain NAME, or --organisation NAME.")
    _set_up(config, data)
    address = _find_address(domain, organisation)
    totals = _import(paths, address)
    console = Console(stderr=True)
    console.print(_summary(totals), highlight=False)
    if totals.bad:
        raise typer.Exit(_EXIT_SOME_BAD)


def _set_up(config: Path | None, data: Path | None) -> None:
    if config is not None:
        os.environ["MAILWARD_CONFIG"] = str(config.absolute())
    if data is not None:
        os.environ["MAILWARD_DATA"] = str(data.absolute())
    set_up_django()
    from django.conf import settings

    if not (settings.MAILWARD.data_path / "mailward.sqlite3").exists():
        raise Problem(f"{settings.MAILWARD.data_path} holds no Mailward database. Start mailward serve once.")


def _find_address(domain: str, organisation: str) -> "ReportAddress":
    from django.db import connection

    from mailward.core.names import InvalidName, parse_domain
    from mailward.ingest.addresses import address_of_domain, address_of_organisation
    from mailward.store.models import Domain, Organisation

    try:
        if domain:
            domains = list(Domain.objects.filter(name=parse_domain(domain))[:2])
            if len(domains) == 1:
                return address_of_domain(domains[0])
            raise Problem(
                f"{domain} belongs to several organisations: use --organisation."
                if domains
                else f"There is no domain {domain} here. Add it on the console first."
            )
        found = Organisation.objects.filter(name=organisation)
        if organisation.isdigit():
            found = found | Organisation.objects.filter(pk=int(organisation))
        ids = list(found.values_list("pk", flat=True)[:2])
        if len(ids) != 1:
            why = "is the name of several organisations: use the number" if ids else "is no organisation here"
            raise Problem(f"{organisation!r} {why}.")
        return address_of_organisation(ids[0])
    except InvalidName as error:
        raise Problem(f"--domain {domain}: {error}.") from error
    finally:
        connection.close()  # the reading process must not share it


def _import(paths: Sequence[str], address: "ReportAddress") -> _Totals:
    from django.conf import settings

    from mailward.store.bulk import bulk_writes

    totals = _Totals()
    receiver, sender = multiprocessing.get_context("fork").Pipe(duplex=False)
    reader = multiprocessing.get_context("fork").Process(
        target=_read, args=(paths, address, settings.MAILWARD, receiver, sender), daemon=True
    )
    reader.start()
    sender.close()
    gc.set_threshold(*_GC_THRESHOLDS)
    progress = _progress()
    try:
        with progress, bulk_writes():
            task = progress.add_task("importing", total=_total_bytes(paths, progress))
            for batch in _received(receiver):
                _store(batch, totals, progress.console)
                progress.advance(task, sum(len(incoming.content) for incoming in batch.incoming))
    finally:
        receiver.close()
        reader.join()
    if reader.exitcode:
        raise Problem(f"Reading stopped with status {reader.exitcode}; what was read until then is stored.")
    return totals


def _total_bytes(paths: Sequence[str], progress: Progress) -> int | None:
    from mailward.net.files import measure

    return None if progress.disable else measure(paths)


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _received(receiver: Connection) -> Iterator[_Batch]:
    from mailward.store.services.incoming import Incoming

    pieces = msgspec.msgpack.Decoder(int)
    incoming = msgspec.msgpack.Decoder(list[Incoming])
    unreachable = msgspec.msgpack.Decoder(list[tuple[str, str]])
    try:
        while True:
            batch = _Batch([], unreachable.decode(receiver.recv_bytes()))
            for _ in range(pieces.decode(receiver.recv_bytes())):
                batch.incoming.extend(incoming.decode(receiver.recv_bytes()))
            yield batch
    except EOFError:
        return


def _read(
    paths: Sequence[str],
    address: "ReportAddress",
    settings: "Settings",
    receiver: Connection,
    sender: Connection,
) -> None:
    """The reading process."""
    receiver.close()  # so that writing fails once the other end is gone
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    encode = msgspec.msgpack.Encoder().encode
    # in pieces that fit the processor's cache, since a whole batch is 20 MB
    pieces: list[bytes] = []
    unreachable: list[tuple[str, str]] = []
    count, size, wanted = 0, 0, FIRST_BATCH
    try:
        for piece in _pieces(paths, address, settings):
            pieces.append(encode(piece.incoming))
            unreachable += piece.unreachable
            count += len(piece.incoming) + len(piece.unreachable)
            size += len(pieces[-1])
            if count >= wanted or size >= BATCH_BYTES:
                _send(sender, pieces, encode(unreachable))
                count, size, wanted = 0, 0, min(2 * wanted, LARGEST_BATCH)
                pieces, unreachable = [], []
        _send(sender, pieces, encode(unreachable))
    except (BrokenPipeError, KeyboardInterrupt):
        return


def _send(sender: Connection, pieces: Sequence[bytes], unreachable: bytes) -> None:
    sender.send_bytes(unreachable)
    sender.send_bytes(msgspec.msgpack.encode(len(pieces)))
    for piece in pieces:
        sender.send_bytes(piece)


def _pieces(paths: Sequence[str], address: "ReportAddress", settings: "Settings") -> Iterator[_Batch]:
    from mailward.ingest.accept import Arrival, judge_by_door, limits_of, read_arrival
    from mailward.net import clock
    from mailward.net.files import WalkLimits, walk
    from mailward.store.models import Door

    limits, now = limits_of(settings), clock.now()
    piece, size = _Batch([], []), 0
    for item in walk(paths, WalkLimits(max_item_bytes=2 * limits.max_inflated_bytes)):
        name = item.name.encode("utf-8", "replace").decode()  # a file name can be any bytes
        if item.content is None:
            piece.unreachable.append((name, item.error or "it could not be opened"))
        else:
            arrival = Arrival(Door.IMPORT, address, item.content, now, name)
            piece.incoming.append(read_arrival(arrival, limits).judged(judge_by_door(arrival)))
            size += len(item.content)
        if len(piece.incoming) + len(piece.unreachable) >= _PIECE or size >= _PIECE_BYTES:
            yield piece
            piece, size = _Batch([], []), 0
    yield piece


def _store(batch: _Batch, totals: _Totals, console: Console) -> None:
    for incoming, stored in zip(batch.incoming, _store_patiently(batch.incoming), strict=True):
        totals.new += stored.new
        totals.known += stored.copies
        totals.foreign += sum(
            share.domain_id is None for report in incoming.reports for share in report.shares
        )
        if incoming.unreadable is not None:
            _name_bad(incoming.name, incoming.unreadable[1], totals, console)
        elif stored.refused:
            _name_bad(incoming.name, stored.refused, totals, console)
    for name, reason in batch.unreachable:
        _name_bad(name, reason, totals, console)
    totals.files += len(batch.incoming) + len(batch.unreachable)


def _store_patiently(incoming: "Sequence[Incoming]") -> "list[Stored]":
    """Store, waiting for a server that is writing just now. Raises Problem."""
    from django.db import OperationalError, connection

    from mailward.store.services.reports import store_batch

    for attempt in range(_BUSY_TRIES):
        try:
            return store_batch(incoming)
        except OperationalError as error:
            connection.close()
            if attempt == _BUSY_TRIES - 1:
                reason = f"The database does not take more ({error})"
                raise Problem(f"{reason}. Earlier files are stored; run the command again.") from error
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("unreachable")


def _name_bad(name: str, reason: str, totals: _Totals, console: Console) -> None:
    totals.bad += 1
    # names and reasons hold strangers' text
    console.print(_plain(f"{name}: {reason}"), markup=False, highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _summary(totals: _Totals) -> str:
    parts = [f"{totals.new} new", f"{totals.known} known already"]
    if totals.foreign:
        parts.append(f"{totals.foreign} about other domains (kept apart as foreign)")
    sentence = f"{totals.files} files, {totals.new + totals.known} reports: {', '.join(parts)}."
    if totals.bad:
        sentence += f" {totals.bad} files could not be read; they are named above."
    return sentence
