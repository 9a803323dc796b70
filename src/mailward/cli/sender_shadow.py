"""`mailward sender shadow`: what Postfix would have been told, and which mail would have waited."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from mailward.cli.problem import Problem
from mailward.cli.sender import Config, printable
from mailward.config import load_settings
from mailward.net import clock
from mailward.sender.cache import CacheError
from mailward.sender.shadow import Shadowed, read_journal, would_matter
from mailward.sender.transfer import show_time

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def shadow(
    everything: Annotated[bool, typer.Option("--all", help="Also what would have changed nothing.")] = False,
    deferred: Annotated[bool, typer.Option(help="Only what would have waited without an attempt.")] = False,
    days: Annotated[int, typer.Option(help="Only what was asked for in so many days; 0: ever.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: Config = None,
) -> None:
    """List the next hops for which enforcement would have changed something: what, why, how often, when last.

    Mail that is told `secure` or `dane-only` would wait where the host cannot show the certificate: `sender
    replay` on the mail log tells which hosts did.
    """
    path = load_settings(config).sender_shadow_path
    if not path.exists():
        raise Problem(f'There is nothing at {path}: has the daemon run with mode = "shadow"?')
    since = int(clock.now().timestamp()) - days * 86_400 if days else 0
    try:
        found = read_journal(path, since)
    except CacheError as error:
        raise Problem(str(error)) from error
    rows = found if everything else would_matter(found)
    rows = [row for row in rows if not deferred or row.answer.startswith("TEMP ")]
    for row in rows:
        typer.echo(json.dumps(asdict(row)) if as_json else printable(_line(row)))


def _line(row: Shadowed) -> str:
    effect = "would wait" if row.answer.startswith("TEMP ") else "would be told"
    told = (
        f"{effect}: {row.answer}" if row.site == "NOTFOUND " else f"{effect}: {row.answer} (now: {row.site})"
    )
    return (
        f"{row.nexthop}  {row.row}  {told}  [{row.reason}; {row.times} times, last {show_time(row.last_at)}]"
    )
