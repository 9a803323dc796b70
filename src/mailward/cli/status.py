"""`mailward status`: how the installation stands, at one glance."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from mailward.cli.installation import ConfigOption, DataOption
from mailward.cli.onlooking import load_for_looking, why_no_database
from mailward.config import Settings
from mailward.render.sizes import write_size
from mailward.render.visible import make_visible

if TYPE_CHECKING:
    from mailward.doctor.status import Figures, Status

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_MODES = {"enforce": "enforce", "testing": "testing", "none": "none", "": "without a policy"}


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Tell what runs, where it listens, what it holds and what waits. `mailward doctor` looks closer.

    Exit status: 0 it runs and all of it answers, 1 something does not, 2 nothing could be done.
    """
    settings = load_for_looking(config, data)
    from mailward.doctor.status import is_well, read_status

    seen = asyncio.run(read_status(settings, why_no_database(settings)))
    if as_json:
        typer.echo(msgspec.json.encode(seen).decode())
    else:
        for label, text in _lines(settings, seen):
            typer.echo(make_visible(f"{label:<16}{text}").rstrip())
    if not is_well(seen, settings.doctor.queue_minutes):
        raise typer.Exit(1)


def _lines(settings: Settings, seen: "Status") -> Iterator[tuple[str, str]]:
    yield "Mailward", _running(settings, seen)
    for service in seen.services:
        yield (
            service.name[:1].upper() + service.name[1:],
            f"{', '.join(service.listen)}{'' if service.answers else '  DOES NOT ANSWER'}",
        )
    if seen.processes or not seen.supervisor_answers:
        yield "Processes", _processes(seen)
    if seen.figures is None:
        yield "Database", f"{seen.database}: {seen.database_trouble}"
    else:
        yield "Database", f"{seen.database}, {write_size(seen.figures.database_bytes)}"
        yield from _figures(settings, seen, seen.figures)
    if seen.last_backup_at is not None:
        yield "Last backup", f"{_time(seen.last_backup_at)} ({_ago(seen.at - seen.last_backup_at)})"
    else:
        yield "Last backup", "none seen"


def _running(settings: Settings, seen: "Status") -> str:
    if seen.running is None:
        return f"this user may not look into {settings.data_path}; version of this command: {seen.version}"
    if not seen.running:
        return f"DOES NOT RUN on {settings.data_path}; version of this command: {seen.version}"
    text = seen.running_version or seen.version
    if seen.running_since is not None:
        text += f", since {_time(seen.running_since)} ({_ago(seen.at - seen.running_since)})"
    if seen.running_version and seen.running_version != seen.version:
        text += f"; this command is {seen.version}: restart the service"
    return text


def _processes(seen: "Status") -> str:
    if not seen.supervisor_answers:
        return "THE SUPERVISOR DOES NOT ANSWER"
    wrong = [f"{each.name} DOES NOT SERVE" for each in seen.processes if not each.serves]
    wrong += [
        f"{each.name} HANGS, no sign of life for {each.silent_seconds} s"
        for each in seen.processes
        if each.silent_seconds
    ]
    return ", ".join(wrong) or f"{len(seen.processes)}, all of them serve"


def _figures(settings: Settings, seen: "Status", figures: "Figures") -> Iterator[tuple[str, str]]:
    from mailward.doctor.status import is_late

    modes = [f"{figures.domains[mode]} {word}" for mode, word in _MODES.items() if figures.domains.get(mode)]
    yield "Domains", f"{sum(figures.domains.values())}{': ' + ', '.join(modes) if modes else ''}"
    last = f"the last {_time(figures.last_report_at)}" if figures.last_report_at else "none ever"
    yield "Reports", f"{figures.reports_last_day} in the last 24 hours, {last}"
    if settings.acme.directories:
        ends = "none yet"
        if figures.next_certificate_ends_at is not None:
            ends = f"{figures.next_certificate} ends first, {_time(figures.next_certificate_ends_at)}"
        failing = figures.certificates_failing
        yield "Certificates", f"{ends}{f'; {failing} FAILING' if failing else ''}"
    waiting = sum(queue.waiting for queue in figures.queues)
    late = [queue.kind for queue in figures.queues if is_late(queue, seen.at, settings.doctor.queue_minutes)]
    yield "Queues", f"{waiting} waiting{'; LATE: ' + ', '.join(late) if late else ''}"
    yield "Problems", f"{figures.open_problems} open"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _ago(age: timedelta) -> str:
    minutes = max(int(age.total_seconds()) // 60, 0)
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"
