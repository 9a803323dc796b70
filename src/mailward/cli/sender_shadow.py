"""`mailward sender shadow`: what Postfix would have been told, and which mail would have waited."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from mailward.cli.problem import Problem
from mailward.cli.sender import Config
from mailward.cli.sender_replay import SAID, read_logs
from mailward.config import load_settings
from mailward.net import clock
from mailward.render.visible import make_visible
from mailward.sender.cache import CacheError
from mailward.sender.daemon import make_site
from mailward.sender.replay import Outcome, judge_shadowed
from mailward.sender.shadow import Shadowed, read_journal, would_matter
from mailward.sender.transfer import show_time

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def shadow(
    everything: Annotated[bool, typer.Option("--all", help="Also what would have changed nothing.")] = False,
    deferred: Annotated[bool, typer.Option(help="Only what would have waited.")] = False,
    days: Annotated[int, typer.Option(help="Only what was asked for in so many days; 0: ever.")] = 0,
    maillog: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Judge each by what this log of Postfix's shows; again for more."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: Config = None,
) -> None:
    """List the next hops for which enforcement would have changed something: what, why, how often, when last.

    Mail that is told `secure` or `dane-only` would wait where the hosts cannot show what is asked for: with
    --maillog, each is judged by what the log shows of them, and --deferred lists those that would have waited.
    """
    settings = load_settings(config)
    path = settings.sender_shadow_path
    if not path.exists():
        raise Problem(f'There is nothing at {path}: has the daemon run with mode = "shadow"?')
    since = int(clock.now().timestamp()) - days * 86_400 if days else 0
    try:
        found = read_journal(path, since)
    except CacheError as error:
        raise Problem(str(error)) from error
    rows = found if everything else would_matter(found)
    observed = read_logs(maillog or [])
    for row in rows:
        outcome, reasons = judge_shadowed(row, observed, make_site(settings).default_level)
        if deferred and outcome is not Outcome.DEFERRED:
            continue
        seen = f"  {SAID[outcome]}: {'; '.join(reasons)}" if maillog and reasons else ""
        judged = {"outcome": outcome, "reasons": reasons}
        typer.echo(json.dumps(asdict(row) | judged) if as_json else make_visible(_line(row) + seen))


def _line(row: Shadowed) -> str:
    effect = "would wait" if row.answer.startswith("TEMP ") else "would be told"
    told = (
        f"{effect}: {row.answer}" if row.site == "NOTFOUND " else f"{effect}: {row.answer} (now: {row.site})"
    )
    return (
        f"{row.nexthop}  {row.row}  {told}  [{row.reason}; {row.times} times, last {show_time(row.last_at)}]"
    )
