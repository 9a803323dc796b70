"""mailward serve: the platform, as one command."""

import asyncio
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

import mailward
from mailward.backup.restoring import unfinished_mark
from mailward.cli.children import SUPERVISOR_VARIABLE
from mailward.cli.greeting import greet
from mailward.cli.metrics import Endpoint, Lines, serving
from mailward.cli.problem import Problem
from mailward.cli.sockets import Held, hold
from mailward.cli.standing import telling
from mailward.cli.supervisor import Child, Supervisor
from mailward.config import Settings, load_settings
from mailward.net import log, systemd
from mailward.net.ownership import give_away, owner_for_root
from mailward.net.systemd import notify, watchdog_seconds

_log = logging.getLogger("mailward.serve")
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

CHILDREN = ("policy-host", "doors", "console", "worker")
VITAL = frozenset({"policy-host", "doors", "nameserver"})
"""What other people's mail and name servers ask: systemd starts all anew where one of them stays away."""
READY_SECONDS = 30.0
_LOOK_SECONDS = 15
_SAVED = {"policy-host": "snapshot.json", "nameserver": "zone.json"}
"""In the data folder: what a child served last."""
_ROOTS_FILES = "the folder is another user's, who cannot write what is made now; chown -R afterwards"
Environment = dict[str, str]


@app.command()
def serve(
    config: Annotated[
        Path | None,
        typer.Option(help="The settings, a TOML file. See docs/settings.md.", envvar="MAILWARD_CONFIG"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="The folder of database, keys and certificates.", envvar="MAILWARD_DATA"),
    ] = None,
) -> None:
    """Run the platform: console, report doors, policy host and worker, until Ctrl-C or SIGTERM."""
    log.configure("serve")
    environment = dict(os.environ)
    if config is not None:
        environment["MAILWARD_CONFIG"] = str(config.absolute())
    if data is not None:
        environment["MAILWARD_DATA"] = str(data.absolute())
    settings = load_settings(config, environment)
    log.configure("serve", level=settings.log.level, format=settings.log.format)
    environment["MAILWARD_DATA"] = str(settings.data_path)
    environment[SUPERVISOR_VARIABLE] = str(os.getpid())
    with locked(settings.data_path):
        if owner_for_root(settings.data_path) is not None:
            _log.warning("runs-as-root", extra={"folder": settings.data_path, "detail": _ROOTS_FILES})
        _refuse_half_restored(settings)
        _refuse_lost(settings)
        _refuse_left_behind(settings, environment)
        # held from here to the end: who connects while a child is away waits, and is not refused
        held = hold(settings, os.environ)
        if held.environment:
            environment |= held.environment
            settings = load_settings(config, environment)
        for variable in systemd.VARIABLES:
            environment.pop(variable, None)
        asyncio.run(_supervise(settings, environment, held))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The data folder, ours alone: made if needed, and refused while another instance has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_away(handle, folder)  # a command of root's must not lock the service's user out
    except OSError as error:
        raise Problem(f"The data folder {folder} cannot be used: {error.strerror}.") from error
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = file.readline(20).strip() or "unknown"
            raise Problem(f"Mailward runs already on the data folder {folder} (process {pid}).") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n{mailward.__version__}\n")
        file.flush()
        yield


def _refuse_half_restored(settings: Settings) -> None:
    mark = unfinished_mark(settings.data_path)
    if mark.exists():
        raise Problem(
            f"A restore into {settings.data_path} was cut short: database or keys may be missing. Give "
            f"the same command again. To start with what is there instead, remove {mark}."
        )


def _refuse_lost(settings: Settings) -> None:
    """An empty database in its place would take away every policy that was served, and backups of it the good ones."""
    path = settings.sqlite_path
    if settings.database.name or (path.exists() and path.stat().st_size):
        return
    saved = settings.data_path / _SAVED["policy-host"]
    try:
        served = json.loads(saved.read_bytes()).get("hosts")
    except (OSError, ValueError, AttributeError):
        return
    if served:
        raise Problem(
            f"Not started: {path} is gone, and policies were served from it. Put the file back, or the last backup: "
            f"mailward restore --replace. To begin anew without those policies, remove {saved} too."
        )


def _refuse_left_behind(settings: Settings, environment: Environment) -> None:
    """Exits where the settings name an empty database, and what is in use is beside it."""
    from mailward.store.left_behind import file_is_in_use  # commands of the bare install import this module

    if not settings.database.name or not file_is_in_use(settings.sqlite_path):
        return
    try:
        done = subprocess.run(_command("look-behind"), env=environment, timeout=_LOOK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return  # as one that is away: see the child
    if done.returncode:
        raise typer.Exit(done.returncode)


def _children(settings: Settings) -> tuple[str, ...]:
    return (*CHILDREN, "nameserver") if settings.nameserver.zone else CHILDREN


def _serves_at_once(name: str, settings: Settings) -> bool:
    """Whether the child has what it serves from its last run: then it need not wait while the tables change."""
    saved = _SAVED.get(name)
    return saved is not None and (settings.data_path / saved).exists()


async def _prepare(environment: Environment) -> str | None:
    """The token of the first administrator's link, while nobody has an account. Exits if the child fails."""
    child = await asyncio.create_subprocess_exec(
        *_command("prepare"), env=environment, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    if child.returncode:
        raise typer.Exit(child.returncode)
    token = json.loads(said)["start_token"]
    return str(token) if token else None


def _command(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "mailward", f"_{name}")


async def _supervise(settings: Settings, environment: Environment, held: Held) -> None:
    names, lines = _children(settings), Lines(are_wanted=bool(settings.metrics.listen))
    children = [
        Child(
            name,
            _command(name),
            held.by_child.get(name, {}),
            needs_tables=not _serves_at_once(name, settings),
            is_vital=name in VITAL,
        )
        for name in names
    ]
    supervisor = Supervisor(children, environment, open_line=lines.open)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        notify("STOPPING=1", os.environ)
        supervisor.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    feeding = asyncio.create_task(_feed_watchdog(supervisor))
    endpoint = Endpoint(settings, lines, names, supervisor.starts)
    try:
        async with (
            telling(settings.data_path, supervisor.standing),
            serving(settings.metrics.listen, endpoint),
        ):
            await _run(supervisor, settings, environment)
    finally:
        feeding.cancel()
        lines.close()


async def _run(supervisor: Supervisor, settings: Settings, environment: Environment) -> None:
    """Until it is stopped. Policies and DNS are served from the first moment, the rest once the tables are there."""
    running = asyncio.create_task(supervisor.run())
    try:
        start_token = await _prepare(environment)
    except BaseException:
        supervisor.stop()
        await running
        raise
    supervisor.go_on()
    greeting = asyncio.create_task(_greet(supervisor, settings, start_token))
    try:
        await running
    finally:
        greeting.cancel()


async def _greet(supervisor: Supervisor, settings: Settings, start_token: str | None) -> None:
    """Tell where everything is, once everything is there."""
    missing = await supervisor.wait_ready(READY_SECONDS)
    typer.echo(greet(settings, start_token, missing))
    # ready even so: what is missing is tried again, and what is there serves
    status = f"not yet there: {', '.join(missing)}" if missing else "all of it serves"
    notify(f"READY=1\nSTATUS=Mailward {mailward.__version__}, {status}", os.environ)


async def _feed_watchdog(supervisor: Supervisor) -> None:
    seconds = watchdog_seconds(os.environ)
    while seconds is not None:
        if supervisor.is_alive:
            notify("WATCHDOG=1", os.environ)
        await asyncio.sleep(seconds / 3)
