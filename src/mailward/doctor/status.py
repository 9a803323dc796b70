"""How the installation stands, at one glance: no network but loopback, and a second at most."""

import asyncio
from datetime import datetime, timedelta

import msgspec

import mailward
from mailward.config import Settings
from mailward.core.acme.state import NEEDS_PEOPLE
from mailward.doctor.asking import NotAsked, ask
from mailward.doctor.backups import newest_backup
from mailward.doctor.places import nearby, services, shown
from mailward.doctor.process import Running, read_running
from mailward.doctor.standing import Standing, SupervisorSilent, ask_standing
from mailward.net import clock
from mailward.store.queries import certificates, installation
from mailward.store.queries.engine import is_postgresql, postgresql, sqlite

_CONNECT_SECONDS = 0.3


class ServiceStatus(msgspec.Struct, frozen=True):
    name: str
    listen: tuple[str, ...]
    answers: bool


class QueueStatus(msgspec.Struct, frozen=True):
    kind: str
    waiting: int
    due: int
    due_since: datetime | None
    failing: int


class Figures(msgspec.Struct, frozen=True):
    """What the database knows."""

    domains: dict[str, int]
    """By the mode of the policy that is served; under "" those without one."""
    reports_last_day: int
    last_report_at: datetime | None
    next_certificate: str
    """The host whose certificate ends first; empty: none is ordered."""
    next_certificate_ends_at: datetime | None
    certificates_failing: int
    queues: tuple[QueueStatus, ...]
    open_problems: int
    database_bytes: int


class Status(msgspec.Struct, frozen=True):
    """What `mailward status --json` prints."""

    at: datetime
    version: str
    """Of this command."""
    running: bool | None
    """None: this user may not look."""
    running_version: str
    running_since: datetime | None
    services: tuple[ServiceStatus, ...]
    processes: tuple[Standing, ...]
    """As the supervisor finds them; empty: it cannot be asked."""
    supervisor_answers: bool
    """False: it runs, and did not answer in time."""
    database: str
    """`SQLite` or `PostgreSQL`, and where."""
    database_trouble: str
    """Why it cannot be asked; empty: `figures` is there."""
    figures: Figures | None
    last_backup_at: datetime | None


async def read_status(settings: Settings, no_database: str) -> Status:
    """`no_database`: why it cannot be asked; empty: Django is set up for it."""
    running: Running | None = None
    may_look = True
    try:
        running = read_running(settings.data_path)
        backup = newest_backup(settings)
    except PermissionError:
        may_look, backup = False, None
    processes, supervisor_answers = await _processes(settings, running)
    knocks = await asyncio.gather(*(_service(service.name, service.listen) for service in services(settings)))
    figures, trouble = None, ""
    try:
        figures = await ask(no_database, _read_figures, [each.url for each in settings.acme.authorities])
    except NotAsked as error:
        trouble = str(error)
    database = settings.database
    where = f"PostgreSQL, {database.name} at {database.host or 'the local socket'}"
    return Status(
        clock.now(),
        mailward.__version__,
        running is not None if may_look else None,
        running.version if running else "",
        running.since if running else None,
        tuple(knocks),
        processes,
        supervisor_answers,
        where if database.name else f"SQLite, {settings.sqlite_path}",
        trouble,
        figures,
        backup,
    )


async def _processes(settings: Settings, running: Running | None) -> tuple[tuple[Standing, ...], bool]:
    if running is None:
        return (), True
    try:
        return await ask_standing(settings.data_path), True
    except SupervisorSilent:
        return (), False
    except PermissionError:
        return (), True


async def _service(name: str, listen: tuple[tuple[str, int], ...]) -> ServiceStatus:
    # of the nameserver too: it takes both, and a datagram would have to be answered
    answers = await asyncio.gather(*(_answers(nearby(address), port) for address, port in listen))
    return ServiceStatus(name, tuple(shown(*place) for place in listen), all(answers))


async def _answers(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True


def _read_figures(directories: list[str]) -> Figures:
    now = clock.now()
    reports, ending = installation.reports(now), installation.next_certificate()
    failing = certificates.count_in(NEEDS_PEOPLE) if directories else 0
    return Figures(
        installation.domain_modes(),
        reports.day,
        reports.last_at,
        ending.host if ending else "",
        ending.at if ending else None,
        failing,
        tuple(
            QueueStatus(each.kind, each.waiting, each.due, each.due_since, each.failing)
            for each in installation.queues(now)
        ),
        installation.open_problems(),
        postgresql().bytes if is_postgresql() else sqlite(checked=False).bytes,
    )


def is_late(queue: QueueStatus, now: datetime, minutes: int) -> bool:
    return queue.due_since is not None and now - queue.due_since > timedelta(minutes=minutes)


def is_well(status: Status, minutes: int) -> bool:
    """Whether it runs, all of it, with a database that answers and queues that move."""
    figures = status.figures
    return (
        status.running is not False
        and all(service.answers for service in status.services)
        and status.supervisor_answers
        and all(process.serves and not process.silent_seconds for process in status.processes)
        and figures is not None
        and not any(is_late(queue, status.at, minutes) for queue in figures.queues)
    )
