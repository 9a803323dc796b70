"""`mailward survey LIST --out DIR`: the check in bulk, to measure adoption."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mailward.cli.problem import Problem
from mailward.core.names import InvalidName, check_ldh
from mailward.core.survey.totals import Totals
from mailward.net import clock
from mailward.net.resolver import Resolver
from mailward.net.tlsdial import TlsFailed, check_authorities
from mailward.probe.survey import SUFFIX_LIST, SurveyWays
from mailward.survey.crew import CrewDied
from mailward.survey.journal import JournalBusy
from mailward.survey.processes import collect_seldom, prepare_processes
from mailward.survey.run import SESSIONS, Asked, SurveyProblem, open_survey, run_survey

app = typer.Typer(name="survey", help="Check many domains, and tell what they add up to.")

EXIT_INTERRUPTED = 130
_LINE_SECONDS = 10.0  # between lines, where no terminal shows a bar
_MAX_WORKERS = 64


@app.command()
def survey(
    list_file: Annotated[
        str | None,
        typer.Argument(
            metavar="LIST",
            help="Domains, one a line or as CSV (name, or rank and name); - is stdin. Not needed to go on.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="The directory for journal and results.", show_default=False
        ),
    ] = ...,  # type: ignore[assignment]  # typer's way to say that it is required
    resolvers: Annotated[
        list[str] | None,
        typer.Option(
            "--resolver",
            metavar="ADDRESS",
            help="Ask this DNS server (address or address:port); several take turns.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, max=20_000, help="Domains at a time, in all.")
    ] = 1000,
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, max=_MAX_WORKERS, help="Processes; 0: as many as processors.")
    ] = 0,
    per_address: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=1000, help="Connections at a time to one address of policy hosts."
        ),
    ] = 8,
    retries: Annotated[
        int,
        typer.Option("--retry", metavar="N", min=0, max=10, help="How often a DNS question is asked again."),
    ] = 2,
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="So many of the list's domains, the same each time."),
    ] = None,
    smtp: Annotated[
        bool, typer.Option("--smtp", help="Speak to each MX host up to a TLS handshake; no mail is sent.")
    ] = False,
    smtp_rate: Annotated[
        float, typer.Option(metavar="N", min=0.01, max=1000, help="Connections to MX hosts a second.")
    ] = 10.0,
    ehlo: Annotated[
        str, typer.Option(metavar="NAME", help="Our name in EHLO; otherwise the machine's.")
    ] = "",
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Trust these certificate authorities (PEM) instead of the system's."
        ),
    ] = None,
    suffix_list: Annotated[
        Path, typer.Option(metavar="FILE", help="public_suffix_list.dat, to tell providers apart.")
    ] = SUFFIX_LIST,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Connect to private and loopback addresses too.")
    ] = False,
    https_port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="In laboratories.")] = 443,
    smtp_port: Annotated[int, typer.Option(metavar="N", min=1, max=65535, help="In laboratories.")] = 25,
) -> None:
    """Look at every domain of a list: MX, MTA-STS with its policy, TLSRPT, DANE; with --smtp, STARTTLS too.

    Results go to DIR: results.csv, results.parquet, summary.html. The same command goes on where a survey was
    stopped or killed. Exit status: 0 all was asked; 2 something must be mended first; 130 stopped by ^C.
    """
    # one process speaks to MX hosts: it knows which of them were spoken to, and keeps the rate
    count = 1 if smtp else workers or min(os.cpu_count() or 1, _MAX_WORKERS)
    ways = SurveyWays(
        resolvers=tuple(resolvers or ()),
        concurrency=-(-concurrency // count),
        retries=retries,
        per_address=max(1, per_address // count),
        has_smtp=smtp,
        smtp_rate=smtp_rate,
        sessions_file=out / SESSIONS if smtp else None,
        ehlo_name=ehlo,
        ca_file=ca_file,
        allow_private=allow_private,
        https_port=https_port,
        smtp_port=smtp_port,
        suffix_list=suffix_list,
    )
    _check(ways)
    prepare_processes()
    collect_seldom()
    try:
        with _open_list(list_file) as source:
            title = "a list" if list_file in (None, "-") else Path(str(list_file)).name
            manifest, was_there = open_survey(out, Asked(source, title, sample, smtp))
        plan = manifest.plan
        named, junk = (
            f"named again on {plan.duplicates:,} lines",
            f"{plan.rejected:,} lines hold no domain name",
        )
        _say(f"{plan.names:,} domains, {named}; {junk}.")
        if was_there:
            _say(f"Going on with the survey in {out}.")
        with _watch() as progress:
            totals = run_survey(out, manifest, ways, count, progress)
    except (SurveyProblem, CrewDied) as error:
        raise Problem(f"{error}.") from error
    except JournalBusy as error:
        raise Problem(f"Another mailward survey is writing to {error}.") from error
    except OSError as error:
        raise Problem(f"{error.filename or out}: {error.strerror or error}.") from error
    except KeyboardInterrupt as error:
        _say("Stopped. The same command goes on from here.")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    _tell(totals, out)


def _check(ways: SurveyWays) -> None:
    """Raises Problem."""
    try:
        Resolver(ways.resolvers)
        check_authorities(ways.ca_file)
        if ways.ehlo_name:
            check_ldh(ways.ehlo_name)
    except (ValueError, InvalidName, TlsFailed) as error:
        raise Problem(f"{error}.") from error
    if ways.suffix_list != SUFFIX_LIST and not ways.suffix_list.is_file():
        raise Problem(f"{ways.suffix_list}: no such file.")


@contextlib.contextmanager
def _open_list(name: str | None) -> Iterator[BinaryIO | None]:
    if name is None:
        yield None
    elif name == "-":
        yield sys.stdin.buffer
    else:
        with Path(name).open("rb") as file:
            yield file


def _tell(totals: Totals, out: Path) -> None:
    typer.echo(
        f"{totals.domains:,} domains, {totals.mail:,} take mail: {totals.sts_meant:,} with an MTA-STS record"
        f" ({totals.sts_usable:,} usable, {totals.modes['enforce']:,} enforced), {totals.tlsrpt:,} with TLSRPT."
    )
    if totals.errors:
        typer.echo(f"{totals.errors:,} rows say only what went wrong (status error).")
    typer.echo(f"{out}/summary.html, results.csv, results.parquet")


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)


@contextlib.contextmanager
def _watch() -> Iterator["_Bar | _Lines"]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=2, speed_estimate_period=60) as shown:
        yield _Bar(shown)


class _Bar:
    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._task: TaskID | None = None

    def begin(self, words: str, total: int, done: int = 0) -> None:
        if self._task is not None:
            self._shown.stop_task(self._task)
        # what was done before does not count for the rate
        self._task = self._shown.add_task(words, total=total, completed=done, rate="")

    def advance(self, count: int) -> None:
        if self._task is None:
            return
        self._shown.advance(self._task, count)
        speed = next(task.speed for task in self._shown.tasks if task.id == self._task)
        if speed:
            self._shown.update(self._task, rate=f"{speed:,.0f}/s")


class _Lines:
    """Where nobody watches: a line now and then."""

    def begin(self, words: str, total: int, done: int = 0) -> None:
        self._words, self._total, self._done, self._before = words, total, done, done
        self._at = self._began = clock.monotonic()

    def advance(self, count: int) -> None:
        self._done += count
        now = clock.monotonic()
        if now - self._at < _LINE_SECONDS:
            return
        self._at = now
        rate = (self._done - self._before) / (now - self._began)
        left = f"{(self._total - self._done) / rate:,.0f} seconds left" if rate else "no row yet"
        _say(f"{self._words}: {self._done:,} of {self._total:,}, {rate:,.0f}/s, {left}")
