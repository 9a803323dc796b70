"""`mailward report import`: take report files into the platform.

Reading runs in a process of its own, so that it goes on while the other commits.
"""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

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

from mailward.cli.import_reading import GC_THRESHOLDS, Piece, reading
from mailward.cli.installation import ConfigOption, DataOption, open_installation
from mailward.cli.problem import Problem

if TYPE_CHECKING:
    from mailward.ingest.addresses import ReportAddress
    from mailward.store.services.incoming import Incoming, Stored

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_BUSY_TRIES = 6
_EXIT_SOME_BAD = 1


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
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Take report files in. You vouch for them: they are counted, and marked as imported.

    A file that cannot be read, or not all of it, is named and kept in quarantine. Importing a file again changes
    nothing. Exit status: 0 all were read, 1 some were not, 2 nothing could be done.
    """
    if bool(domain) == bool(organisation):
        raise Problem("Say whose reports these are: --domain NAME, or --organisation NAME.")
    open_installation(config, data)
    address = _find_address(domain, organisation)
    totals = _import(paths, address)
    console = Console(stderr=True)
    console.print(_summary(totals), highlight=False)
    if totals.bad:
        raise typer.Exit(_EXIT_SOME_BAD)


def _find_address(domain: str, organisation: str) -> "ReportAddress":
    from mailward.core.names import InvalidName, parse_domain
    from mailward.ingest.addresses import address_of_domain, address_of_organisation
    from mailward.store.aio import disconnect
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
        disconnect()  # the reading process must not share it


def _import(paths: Sequence[str], address: "ReportAddress") -> _Totals:
    from django.conf import settings

    from mailward.store.bulk import bulk_writes

    totals = _Totals()
    progress = _progress()
    with reading(paths, address, settings.MAILWARD) as readers:
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        with progress, bulk_writes():
            task = progress.add_task("importing", total=_total_bytes(paths, progress))
            for batch in readers.batches():
                _store(batch, totals, progress.console)
                progress.advance(task, sum(len(incoming.content) for incoming in batch.incoming))
    if failed := readers.exit_codes - {0}:
        raise Problem(f"Reading stopped with status {failed.pop()}; what was read until then is stored.")
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


def _store(batch: Piece, totals: _Totals, console: Console) -> None:
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
        sentence += f" {totals.bad} files could not be read, or not all of them; they are named above."
    return sentence
