"""`mailward sender replay MAILLOG`: what last week's destinations would have met, and which mail would have waited."""

import asyncio
import gzip
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Self

import typer

from mailward.cli.problem import Problem
from mailward.cli.sender import Config
from mailward.config import Settings, load_settings
from mailward.core.postfix.maillog import MAX_LINE
from mailward.core.sending.overrides import OverridesInvalid
from mailward.render.visible import make_visible
from mailward.sender.cache import CacheError
from mailward.sender.daemon import make_sender_resolver
from mailward.sender.observed import Observed
from mailward.sender.replay import Met, Outcome, Overlay, make_answers, replay
from mailward.sender.sqlite import SqliteCache

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_PROGRESS_EVERY = 2_000  # lines
SAID = {
    Outcome.DEFERRED: "would wait",
    Outcome.PARTLY: "some hosts would be refused",
    Outcome.NOT_SEEN: "not seen in this log",
    Outcome.PROTECTED: "would be protected",
    Outcome.SAME: "as before",
}


@app.command(name="replay")
def replay_logs(
    files: Annotated[list[str], typer.Argument(metavar="MAILLOG...", help="Also .gz; - is stdin.")],
    everything: Annotated[bool, typer.Option("--all", help="Also what would be as before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: Config = None,
) -> None:
    """Decide about every destination in Postfix's logs as the daemon would now, and judge it by what its hosts showed.

    Nothing is written and no mail server is connected to; DNS and policy hosts are asked. Exit status: 0 no mail
    would have waited, 1 some would.
    """
    settings = load_settings(config)
    observed = read_logs(files)
    if not observed.deliveries:
        raise Problem(f"{observed.lines} lines, and none of them is about a delivery by Postfix's smtp.")
    try:
        found = asyncio.run(_replay(settings, observed))
    except (CacheError, OverridesInvalid) as error:
        raise Problem(str(error)) from error
    _show(observed, found, everything=everything, as_json=as_json)
    if any(met.outcome is Outcome.DEFERRED for met in found):
        raise typer.Exit(1)


def read_logs(files: list[str]) -> Observed:
    """What they show, with a bar where somebody watches. Raises Problem."""
    observed = Observed()
    with _Progress() as progress:
        for name in files:
            progress.start(name)
            for line in _lines(name, progress):
                observed.add(line)
    return observed


async def _replay(settings: Settings, observed: Observed) -> list[Met]:
    path = settings.sender_cache_path
    below = SqliteCache(path, settings.sender.max_domains) if path.exists() else None
    answers = await make_answers(settings, Overlay(below), make_sender_resolver(settings))
    try:
        with _Progress() as progress:
            progress.start("Asking", len(observed.destinations))
            return [met async for met in replay(observed, answers, progress.step)]
    finally:
        await answers.knowledge.close()


def _show(observed: Observed, found: list[Met], *, everything: bool, as_json: bool) -> None:
    order = list(SAID)
    shown = [met for met in found if everything or met.outcome is not Outcome.SAME]
    for met in sorted(shown, key=lambda met: order.index(met.outcome)):
        typer.echo(json.dumps(_row(met)) if as_json else make_visible(_line(met)))
    if as_json:
        return
    counts = Counter(met.outcome for met in found)
    first, last = observed.days
    summary = ", ".join(f"{counts[outcome]} {said}" for outcome, said in SAID.items() if counts[outcome])
    typer.echo(
        f"\n{observed.deliveries} deliveries to {len(found)} domains, {first} to {last}: {summary}.", err=True
    )
    if observed.left_out:
        typer.echo(f"{observed.left_out} deliveries to further domains were not looked at.", err=True)
    if relayhost := observed.likely_relayhost():
        note = "Postfix then asks about it, not about the domains: mailward sender explain"
        typer.echo(f"Nearly all mail went to {relayhost}, a relayhost? {note} '[{relayhost}]'", err=True)


def _line(met: Met) -> str:
    seen = met.destination
    told = f"{met.domain}  {SAID[met.outcome]}  {met.decision.row}  {met.answer}"
    reasons = "; ".join(met.reasons)
    return f"{told}  [{seen.sent} sent, {seen.waited} deferred{f'; {reasons}' if reasons else ''}]"


def _row(met: Met) -> dict[str, Any]:
    seen = met.destination
    return {
        "domain": met.domain,
        "outcome": met.outcome,
        "row": met.decision.row,
        "reason": met.decision.reason,
        "answer": met.answer,
        "messages": seen.messages,
        "sent": seen.sent,
        "deferred": seen.waited,
        "last_deferral": seen.reason,
        "relays": {str(relay): count for relay, count in seen.relays.items()},
        "reasons": list(met.reasons),
    }


def _lines(name: str, progress: "_Progress") -> Iterator[str]:
    """The lines of a log, cut to a bounded length. Raises Problem."""
    try:
        with closing(_open(name)) as stream:
            while line := stream.readline(MAX_LINE):
                progress.line()
                yield line.decode("utf-8", "replace").rstrip("\r\n")
    except OSError as error:  # gzip.BadGzipFile is one
        raise Problem(f"{name}: {error.strerror or error}") from error
    except EOFError as error:
        raise Problem(f"{name}: {error}") from error


def _open(name: str) -> BinaryIO:
    if name == "-":
        return sys.stdin.buffer
    raw = io.BufferedReader(io.FileIO(Path(name)), 1 << 16)
    if raw.peek(2)[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]  # reads like one
    return raw


class _Progress:
    """A bar on standard error, where somebody watches."""

    def __init__(self) -> None:
        self._lines = 0
        self._bar: Any = None  # rich is loaded where there is a terminal alone

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, what: str, total: int | None = None) -> None:
        if self._bar is not None:
            self._task = self._bar.add_task(make_visible(what), total=total)

    def step(self) -> None:
        if self._bar is not None:
            self._bar.advance(self._task)

    def line(self) -> None:
        self._lines += 1
        if self._bar is not None and self._lines % _PROGRESS_EVERY == 0:
            self._bar.advance(self._task, _PROGRESS_EVERY)
