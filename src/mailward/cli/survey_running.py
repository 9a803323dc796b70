"""`mailward survey`, once its options are read: what is told of it, and what may be wrong."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mailward.cli.problem import Problem
from mailward.core.names import InvalidName, check_ldh
from mailward.core.survey.totals import Totals
from mailward.net import clock
from mailward.net.resolver import Resolver
from mailward.net.tlsdial import TlsFailed, check_authorities
from mailward.probe.surveyways import SUFFIX_LIST, SurveyWays
from mailward.survey.crew import CrewDied
from mailward.survey.journal import JournalBusy
from mailward.survey.processes import collect_seldom
from mailward.survey.run import Asked, SurveyProblem, open_survey, run_survey

EXIT_INTERRUPTED = 130
_LINE_SECONDS = 10.0  # between lines, where no terminal shows a bar


def run(ways: SurveyWays, workers: int, out: Path, list_file: str | None, sample: int | None) -> None:
    """The list is named as on the command line. Raises Problem, typer.Exit."""
    _check(ways)
    collect_seldom()
    try:
        with _open_list(list_file) as source:
            title = "a list" if list_file in (None, "-") else Path(str(list_file)).name
            manifest, was_there = open_survey(out, Asked(source, title, sample, ways.has_smtp))
        plan = manifest.plan
        named, junk = (
            f"named again on {plan.duplicates:,} lines",
            f"{plan.rejected:,} lines hold no domain name",
        )
        _say(f"{plan.names:,} domains, {named}; {junk}.")
        if was_there:
            _say(f"Going on with the survey in {out}.")
        with _watch() as progress:
            totals = run_survey(out, manifest, ways, workers, progress)
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
