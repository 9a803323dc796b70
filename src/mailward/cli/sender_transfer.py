"""`mailward sender export` and `import`: learned policies from one host to another, with their times."""

import asyncio
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from mailward.cli.problem import Problem
from mailward.cli.sender import Config, existing_cache, tell_damaged
from mailward.config import Settings, load_settings
from mailward.core.names import Domain
from mailward.net import clock
from mailward.sender.cache import CacheError, Entry
from mailward.sender.control import change
from mailward.sender.sqlite import SqliteCache
from mailward.sender.transfer import MAX_LINE, Imported, LineInvalid, export_line, read_lines, take_over

app = typer.Typer(name="sender", help="The policy server beside Postfix.", no_args_is_help=True)


@app.command()
def export(config: Config = None) -> None:
    """Print every policy in the cache as one JSON object a line, with its text and the time of its fetch."""
    settings = load_settings(config)
    existing_cache(settings)
    try:
        entries = asyncio.run(_listing(settings))
    except CacheError as error:
        raise Problem(str(error)) from error
    for entry in entries:
        sys.stdout.write(export_line(entry) + "\n")


@app.command(name="import")
def import_policies(
    file: Annotated[Path, typer.Argument(help="What `export` printed; - is stdin.")] = Path("-"),
    config: Config = None,
) -> None:
    """Take over exported policies: all lines or, where one is wrong, none.

    A policy lives as long as it did where it came from, counted from its fetch over HTTPS. Where the cache has
    one of the same domain, the later fetch holds. Running daemons take it up within two seconds.
    """
    settings = load_settings(config)
    now = int(clock.now().timestamp())
    done: list[Imported] = []

    def work(connection: sqlite3.Connection) -> Sequence[Domain]:
        done.append(take_over(connection, entries, now))
        return done[0].taken

    try:
        asyncio.run(_make_cache(settings))
        with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as stream:
            entries: Iterable[Entry] = read_lines(_bounded_lines(stream), now)
            change(settings.sender_cache_path, work, now)
    except OSError as error:
        raise Problem(f"{file}: {error.strerror or error}; nothing was taken over") from error
    except (CacheError, LineInvalid) as error:
        raise Problem(f"{error}; nothing was taken over") from error
    found = done[0]
    typer.echo(f"{len(found.taken)} taken over, {found.older} known already, {found.ended} ended since")


def _bounded_lines(stream: BinaryIO) -> Iterable[bytes]:
    while line := stream.readline(MAX_LINE + 1):
        yield line


async def _listing(settings: Settings) -> list[Entry]:
    cache = SqliteCache(settings.sender_cache_path, settings.sender.max_domains)
    try:
        tell_damaged(await cache.damaged())
        return await cache.listing()
    finally:
        await cache.close()


async def _make_cache(settings: Settings) -> None:
    """With its tables, where there is none yet."""
    await SqliteCache(settings.sender_cache_path, settings.sender.max_domains).close()
