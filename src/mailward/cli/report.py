"""`mailward report show FILE...`: reports as documents, a page, a table or JSON lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import typer

from mailward.cli.problem import Problem
from mailward.cli.report_output import JsonLines, Output, Page, Table, Terminal
from mailward.cli.report_target import as_text, open_target
from mailward.core.names import InvalidName, parse_domain
from mailward.core.tlsrpt.deviations import DEVIATIONS
from mailward.core.tlsrpt.errors import Unreadable
from mailward.core.tlsrpt.limits import MIB, Limits
from mailward.core.tlsrpt.read import read_bytes
from mailward.core.tlsrpt.reading import Reading, check_strict
from mailward.net import clock
from mailward.net.files import STDIN, Item, measure, walk
from mailward.render.visible import make_visible

app = typer.Typer(
    name="report", help="TLS reports: read them as documents.", no_args_is_help=True, add_completion=False
)

EXIT_SOME_BAD = 1
EXIT_NOTHING_READ = 2
_PROGRESS_FROM_BYTES = 4 * MIB
_FILE_WIDTH = 80
_MAX_STRICT_LINES = 20

Say = Callable[[str], None]


@app.callback()
def _group() -> None:
    """TLS reports: read them as documents."""


@app.command()
def show(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Reports (.json, .gz, .zip), mails, mboxes, Maildirs, folders; - is standard input.",
        ),
    ],
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="One JSON object for each file, for programs.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="A table: a row for each policy, each failure.")
    ] = False,
    as_html: Annotated[
        bool, typer.Option("--html", help="A page that stands alone and prints well.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file instead of standard output.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="Your domain: policies of others are shown apart.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Also name all that contradicts RFC 8460, and exit with 1.")
    ] = False,
    max_inflated_mib: Annotated[
        int, typer.Option(min=1, max=4096, help="Refuse a report that unpacks to more than this.")
    ] = 25,
) -> None:
    """Print TLS reports as readable documents.

    Exit status: 0 all were read, 1 some file was not (it is named on standard error), 2 none was.
    """
    if as_jsonl + as_csv + as_html > 1:
        raise typer.BadParameter("choose one of --jsonl, --csv and --html")
    form = "jsonl" if as_jsonl else "csv" if as_csv else "html" if as_html else "text"
    limits = Limits(max_inflated_bytes=max_inflated_mib * MIB)
    with _open_output(form, output, _read_domain(domain)) as out, _progress(files, output) as (follow, say):
        tally = _show_all(follow(walk(files)), out, limits, say, strict=strict)
    if not tally.good:
        if not tally.bad:
            say(f"nothing to read in {', '.join(files)}")
        raise typer.Exit(EXIT_NOTHING_READ)
    if tally.bad or tally.against_rfc:
        raise typer.Exit(EXIT_SOME_BAD)


@dataclass(slots=True)
class _Tally:
    """Files by what became of them."""

    good: int = 0
    bad: int = 0
    against_rfc: int = 0


def _show_all(items: Iterator[Item], out: Output, limits: Limits, say: Say, *, strict: bool) -> _Tally:
    tally = _Tally()
    now = clock.now()
    for item in items:
        outcome: Reading | Unreadable
        try:
            if item.content is None:
                raise Unreadable("not-readable", item.error or "it cannot be read")
            outcome = read_bytes(item.content, name=item.name, now=now, limits=limits)
        except Unreadable as error:
            tally.bad += 1
            say(f"{item.name}: {error.detail} ({error.code})")
            outcome = error
        else:
            tally.good += 1
            if strict:
                tally.against_rfc += _say_deviations(item.name, outcome, say)
        out.take(item.name, outcome)
    out.finish()
    return tally


def _say_deviations(name: str, reading: Reading, say: Say) -> bool:
    found = check_strict(reading)
    for deviation in found[:_MAX_STRICT_LINES]:
        info = DEVIATIONS[deviation.slug]
        held = f" It held: {deviation.value}" if deviation.value else ""
        say(f"{name}: {deviation.where}: {info.text}{held} ({deviation.slug}, {info.section})")
    if len(found) > _MAX_STRICT_LINES:
        say(f"{name}: and {len(found) - _MAX_STRICT_LINES:,} more")
    return bool(found)


def _read_domain(text: str | None) -> str | None:
    try:
        return parse_domain(text) if text else None
    except InvalidName as error:
        raise Problem(f"--domain: {error}") from error


@contextmanager
def _open_output(form: str, path: Path | None, domain: str | None) -> Iterator[Output]:
    with open_target(path) as target:
        if form != "text":
            yield _make_output(form, target, domain)
            return
        with as_text(target) as text:
            yield Terminal(text, domain, None if path is None else _FILE_WIDTH)


def _make_output(form: str, file: IO[bytes], domain: str | None) -> Output:
    if form == "jsonl":
        return JsonLines(file)
    return Table(file, domain) if form == "csv" else Page(file, domain)


Follow = Callable[[Iterator[Item]], Iterator[Item]]


@contextmanager
def _progress(files: list[str], output: Path | None) -> Iterator[tuple[Follow, Say]]:
    """A bar on standard error where a person waits and sees nothing else; and how to speak beside it."""
    is_watched = sys.stderr.isatty() and (output is not None or not sys.stdout.isatty())
    total = measure(file for file in files if file != STDIN) if is_watched else 0
    if total < _PROGRESS_FROM_BYTES:
        yield iter, _complain
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True, markup=False, highlight=False), transient=True) as bar:
        task = bar.add_task("Reading", total=total)

        def follow(items: Iterator[Item]) -> Iterator[Item]:
            for item in items:
                yield item
                bar.advance(task, len(item.content or b""))

        yield (
            follow,
            lambda sentence: bar.console.print(f"mailward: {make_visible(sentence)}", soft_wrap=True),
        )


def _complain(sentence: str) -> None:
    sys.stderr.write(f"mailward: {make_visible(sentence)}\n")
