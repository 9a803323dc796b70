"""mailward serve: the platform, as one command."""

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import mailward
from mailward.cli.children import SUPERVISOR_VARIABLE
from mailward.cli.metrics import Endpoint, Lines, serving
from mailward.cli.problem import Problem
from mailward.cli.supervisor import Child, Supervisor
from mailward.config import Settings, load_settings
from mailward.net import clock, log

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

CHILDREN = ("policy-host", "doors", "console", "worker")
READY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Door:
    """An address that one of the children listens on."""

    setting: str
    listen: str
    port: int


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
    environment["MAILWARD_DATA"] = str(settings.data_path)
    environment[SUPERVISOR_VARIABLE] = str(os.getpid())
    with locked(settings.data_path):
        _check_ports(_doors(settings))
        start_token = _prepare(environment)
        asyncio.run(_supervise(settings, environment, start_token))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The data folder, ours alone: made if needed, and refused while another instance has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


def _children(settings: Settings) -> tuple[str, ...]:
    return (*CHILDREN, "nameserver") if settings.nameserver.zone else CHILDREN


def _doors(settings: Settings) -> tuple[Door, ...]:
    own = settings.nameserver
    return (
        *(
            Door("nameserver.port", each, settings.nameserver_port)
            for each in (own.listen if own.zone else ())
        ),
        *(
            [Door("acme.http_port", settings.acme_listen, settings.acme_port)]
            if settings.acme.directories
            else []
        ),
        Door("console.port", settings.console.listen, settings.console.port),
        Door("policy_host.port", settings.policy_host.listen, settings.policy_port),
        *(
            [
                Door(
                    "policy_host.front_port",
                    settings.policy_host.front_listen,
                    settings.policy_host.front_port,
                )
            ]
            if settings.policy_host.fronts
            else []
        ),
        Door("reports.smtp_port", settings.reports.smtp_listen, settings.smtp_port),
        Door("reports.https_port", settings.reports.https_listen, settings.https_port),
    )


def _check_ports(doors: tuple[Door, ...]) -> None:
    """Raises Problem for the first address that cannot be had: a child would say so again and again."""
    with contextlib.ExitStack() as held:
        for door in doors:
            address = f"{door.listen}:{door.port}"
            try:
                family, *_, target = socket.getaddrinfo(door.listen, door.port, type=socket.SOCK_STREAM)[0]
                listener = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(target)
                listener.listen(1)
            except OSError as error:
                raise Problem(f"{address} ({door.setting}) cannot be used: {_reason(error)}.") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program listens there; stop it, or choose another port in the settings"
    if error.errno == errno.EACCES:
        return "only root may use ports below 1024; choose another port in the settings"
    return error.strerror or str(error)


def _prepare(environment: dict[str, str]) -> str | None:
    """The token of the first administrator's link, while nobody has an account. Exits if the child fails."""
    child = subprocess.run(_command("prepare"), env=environment, stdout=subprocess.PIPE, check=False)
    if child.returncode:
        raise typer.Exit(child.returncode)
    token = json.loads(child.stdout)["start_token"]
    return str(token) if token else None


def _command(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "mailward", f"_{name}")


async def _supervise(settings: Settings, environment: dict[str, str], start_token: str | None) -> None:
    names, lines = _children(settings), Lines(are_wanted=bool(settings.metrics.listen))
    children = [Child(name, _command(name)) for name in names]
    supervisor = Supervisor(children, environment, open_line=lines.open)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    greeting = asyncio.create_task(_greet(settings, start_token))
    try:
        async with serving(settings.metrics.listen, Endpoint(lines, names, supervisor.starts)):
            await supervisor.run()
    finally:
        greeting.cancel()
        lines.close()


async def _greet(settings: Settings, start_token: str | None) -> None:
    """Tell where everything is, once everything is there."""
    missing = list(_doors(settings))
    deadline = clock.monotonic() + READY_SECONDS
    while missing and clock.monotonic() < deadline:
        missing = [door for door in missing if not await _answers(door)]
        await asyncio.sleep(0.05)
    state = "has started, but not all of it" if missing else "is ready"
    lines = [f"Mailward {mailward.__version__} {state}.", "", describe(settings, start_token)]
    lines += [
        f"  Nothing answers at {door.listen}:{door.port} ({door.setting}); see the log." for door in missing
    ]
    typer.echo("\n".join(lines))


async def _answers(door: Door) -> bool:
    any_address = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - nothing is bound here
    host = any_address.get(door.listen, door.listen)
    try:
        _, writer = await asyncio.open_connection(host, door.port)
    except OSError:
        return False
    writer.close()
    return True


def describe(settings: Settings, start_token: str | None) -> str:
    """What a person who started Mailward needs to know."""
    policy, reports = settings.policy_host, settings.reports
    lines = [
        f"  Console       {settings.console_url}/",
        f"  Policy host   https://{policy.listen}:{settings.policy_port}/ (as mta-sts.DOMAIN)",
        f"  Report mail   {reports.smtp_listen}:{settings.smtp_port} (addresses at {reports.domain})",
        f"  Report POST   https://{reports.https_listen}:{settings.https_port}/ (as {settings.https_name})",
        f"  Data          {settings.data_path}",
    ]
    if policy.fronts:
        lines.insert(2, f"  For fronts    http://{policy.front_listen}:{policy.front_port}/")
    if settings.nameserver.zone:
        where = ", ".join(f"{each}:{settings.nameserver_port}" for each in settings.nameserver.listen)
        lines.insert(-1, f"  Nameserver    {where} (zone {settings.nameserver.zone})")
    if settings.has_development_ca:
        ca, port = settings.data_path / "ca" / "ca.pem", settings.policy_port
        lines += [
            f"  Test CA       {ca}",
            "",
            "  A policy, fetched as a sender does:",
            f"    curl --cacert {ca} --resolve mta-sts.DOMAIN:{port}:127.0.0.1 \\",
            f"      https://mta-sts.DOMAIN:{port}/.well-known/mta-sts.txt",
        ]
    if start_token:
        lines += [
            "",
            "  Nobody has an account yet. This link makes the first administrator, once, within 24 hours:",
            f"    {settings.console_url}/start/{start_token}/",
        ]
    return "\n".join([*lines, ""])
