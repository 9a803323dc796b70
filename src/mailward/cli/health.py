"""`mailward health`: what a container's health check asks. It follows the settings, wherever the health pages are."""

import asyncio
import http.client
from collections.abc import Mapping, Sequence
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer

from mailward.cli.installation import ConfigOption, DataOption
from mailward.cli.onlooking import read_settings_there
from mailward.cli.problem import Problem
from mailward.config import Settings
from mailward.core.metrics.health import Health
from mailward.core.places import Place, parse_place, reach, show_place
from mailward.doctor.standing import SupervisorSilent, ask_standing

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

SECONDS = 8.0
"""The endpoint waits two for its processes; a container's health check is ended after ten."""
MAX_BYTES = 64 * 1024


class _Page(msgspec.Struct, frozen=True):
    """What /healthz has; what else is there is not ours to know."""

    status: str
    services: dict[str, Health]


class _SenderPage(msgspec.Struct, frozen=True):
    """What the sender has there."""

    status: str
    dane: str


SENDER = "sender"
_OK = "ok"
_P = TypeVar("_P", _Page, _SenderPage)


@app.command()
def health(
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]", help="One process alone: policy-host, doors, console, ...; or sender."
        ),
    ] = "",
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Tell whether every process is ready, as /healthz does, for the health check of a container.

    Asks where `metrics.listen` says; without it, the supervisor, which knows whether they live. `mailward sender` is
    a service of its own, and asked where `sender.metrics_listen` says. Exit status: 0 ready, 1 not ready, or nobody
    answers.
    """
    settings = read_settings_there(config, data)
    if name == SENDER:
        found = _ask_sender(settings.sender.metrics_listen)
    elif settings.metrics.listen:
        found = _ask_endpoint(settings.metrics.listen)
    else:
        found = _ask_supervisor(settings)
    if name:
        if name not in found:
            raise Problem(f"There is no process {name!r}. There are: {', '.join(found)}.")
        found = {name: found[name]}
    for each, one in found.items():
        typer.echo(f"{each:<13}{_describe(one)}")
    if not all(one.ready for one in found.values()):
        raise typer.Exit(1)


def _describe(one: Health) -> str:
    word = "NOT READY" if not one.ready else "degraded" if one.degraded else "ready"
    return ": ".join([word, *(["; ".join(one.reasons)] if one.reasons else [])])


def _ask_endpoint(listen: Sequence[str]) -> Mapping[str, Health]:
    """At the first place where we answer: one that could not be had is in the log, and often another's."""
    refused = ""
    for place in map(parse_place, listen):
        try:
            return _ask(place, _Page).services
        except OSError as error:
            refused = refused or str(error)
    return _fail(refused)


def _ask_sender(listen: str) -> Mapping[str, Health]:
    if not listen:
        _fail("sender.metrics_listen is empty: nobody can be asked")
    try:
        page = _ask(parse_place(listen), _SenderPage)
    except OSError as error:
        _fail(str(error))
    is_ready = page.status == _OK
    return {SENDER: Health(ready=is_ready, reasons=() if is_ready else (page.status,))}


def _ask(place: Place, kind: type[_P]) -> _P:
    """What /healthz says there. Raises OSError where nobody answers, or somebody else."""
    address, port = place
    place = reach(address), port
    connection = http.client.HTTPConnection(*place, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        return msgspec.json.decode(connection.getresponse().read(MAX_BYTES), type=kind)
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"{show_place(place)} does not answer: {error}") from error
    except msgspec.DecodeError:
        raise OSError(f"at {show_place(place)} somebody else answers") from None
    finally:
        connection.close()


def _ask_supervisor(settings: Settings) -> Mapping[str, Health]:
    try:
        standing = asyncio.run(ask_standing(settings.data_path))
    except SupervisorSilent:
        _fail("the supervisor does not answer")
    except PermissionError:
        _fail(f"this user may not look into {settings.data_path}")
    if not standing:
        _fail(f"Mailward does not run on {settings.data_path}")
    return {
        each.name: Health(
            ready=each.serves and not each.silent_seconds,
            reasons=(f"no sign of life for {each.silent_seconds} s",) if each.silent_seconds else (),
        )
        for each in standing
    }


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"mailward: {sentence}", err=True)
    raise typer.Exit(1)
