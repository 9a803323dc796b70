"""The processes that `mailward serve` starts. Hidden commands: nobody types them.

They know their settings from MAILWARD_CONFIG and MAILWARD_DATA, end on SIGTERM, and die with the supervisor.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any

from mailward.config import Settings, load_settings
from mailward.net import log, metrics, tracing

SUPERVISOR_VARIABLE = "MAILWARD_SUPERVISOR"
_PR_SET_PDEATHSIG = 1
_MAX_FILES = 65_536

Entry = Callable[[Settings], Coroutine[Any, Any, None]]


def app(arguments: list[str], **_options: object) -> int:
    """Run the child that the first argument names."""
    name = arguments[0].removeprefix("_")
    _die_with_supervisor()
    _raise_file_limit()
    log.configure(name)
    sys.excepthook = _log_crash
    config = os.environ.get("MAILWARD_CONFIG")
    settings = load_settings(Path(config) if config else None)
    log.configure(name, level=settings.log.level, format=settings.log.format)
    metrics.start(name)
    tracing.start(name, settings.tracing)
    set_up_django()
    return _CHILDREN[name](settings)


def set_up_django() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailward.web.settings")
    django.setup()


def _prepare(settings: Settings) -> int:
    from mailward.cli.prepare import prepare

    sys.stdout.write(prepare(settings))
    return 0


def _look_behind(settings: Settings) -> int:
    """Before anything else starts: what serves from its last run would serve an empty database next."""
    from django.db import Error as DatabaseError

    from mailward.cli.prepare import refuse_left_behind

    # one that is away is none to refuse: what was served last is served on, and `prepare` looks again
    with contextlib.suppress(DatabaseError):
        refuse_left_behind(settings)
    return 0


def _console(settings: Settings) -> int:
    from mailward.web import console

    console.run(settings)
    return 0


def _doors(settings: Settings) -> int:
    from mailward.cli import doors

    return _run_until_terminated(doors.run, settings)


def _policy_host(settings: Settings) -> int:
    from mailward.hosting import policyweb

    return _run_until_terminated(policyweb.run, settings)


def _nameserver(settings: Settings) -> int:
    from mailward.hosting import nameserver

    return _run_until_terminated(nameserver.run, settings)


def _worker(settings: Settings) -> int:
    from mailward import worker

    return _run_until_terminated(worker.run, settings)


_CHILDREN: dict[str, Callable[[Settings], int]] = {
    "look-behind": _look_behind,
    "prepare": _prepare,
    "console": _console,
    "doors": _doors,
    "policy-host": _policy_host,
    "nameserver": _nameserver,
    "worker": _worker,
}


def _run_until_terminated(entry: Entry, settings: Settings) -> int:
    """Run `entry` on uvloop; SIGTERM cancels it, so that it can finish what it has begun."""
    import uvloop

    async def main() -> None:
        task = asyncio.ensure_future(entry(settings))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        beating = asyncio.ensure_future(metrics.beat())
        with contextlib.suppress(asyncio.CancelledError):
            await task
        beating.cancel()

    uvloop.run(main())
    return 0


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("mailward").critical("crashed", exc_info=(kind, error, trace))


def _die_with_supervisor() -> None:
    """Ask the kernel to kill us when the supervisor dies, even by kill -9: nothing may keep its ports."""
    supervisor = os.environ.get(SUPERVISOR_VARIABLE)
    if supervisor is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(supervisor):  # it died before we asked
        sys.exit(1)


def _raise_file_limit() -> None:
    """Each connection is a file; the usual soft limit of 1024 is below what our servers allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return  # where systemd has set it, it lets nobody set it
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
