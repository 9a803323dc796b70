"""The database: whether it answers, and whether it is set up for what it has to do."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from mailward.config import Settings
from mailward.core.doctor.catalogue import tell
from mailward.core.doctor.finding import Finding
from mailward.doctor.asking import NotAsked
from mailward.doctor.client import dump_version, missing_programs
from mailward.doctor.subject import Findings, Subject, good, unseen
from mailward.store.left_behind import is_left_behind, tell_left_behind
from mailward.store.queries.engine import is_shared, postgresql, sqlite

_OLDEST_POSTGRESQL = 14
_PROCESSES = 6
"""Of a node, each with a pool of its own."""
_SPARE_CONNECTIONS = 5  # superuser_reserved_connections, and a person with psql
_MAX_LAG_SECONDS = 60.0


async def look_at_database(subject: Subject) -> Findings:
    settings = subject.settings
    if not settings.database.name and not settings.sqlite_path.exists():
        yield _missing(settings)
        return
    try:
        found = await (_postgresql(subject) if settings.database.name else _sqlite(subject))
    except NotAsked as error:
        where = settings.sqlite_path
        if error.is_damaged and not settings.database.name:
            yield tell("damaged", f"{where} is damaged: {error}", _restore(where))
            return
        fix = f"see that the user of Mailward may read and write {where}, and that the disk is not full"
        if settings.database.name:
            host = settings.database.host or "the local socket"
            fix = f"see that PostgreSQL runs at {host} and lets the user of Mailward in: {_psql(settings)}"
        yield tell("database-away", str(error), fix)
        return
    for finding in found:
        yield finding


def _psql(settings: Settings) -> str:
    """The command that asks as we do, by whoever we are."""
    database = settings.database
    options = {"-h": database.host, "-p": str(database.port), "-U": database.user}
    words = [word for option, value in options.items() if value for word in (option, value)]
    return shlex.join(["psql", *words, database.name])


def _missing(settings: Settings) -> Finding:
    path = settings.sqlite_path
    if not _was_used(settings):
        return unseen(f"{path} is not there yet: it is made at the first start")
    text = f"{path} is not there, and Mailward was in use on this folder: a start makes an empty one"
    return tell("damaged", text, _restore(path))


def _was_used(settings: Settings) -> bool:
    return (settings.data_path / "secret-key").exists()


def _restore(path: Path) -> str:
    return f"stop Mailward, keep a copy of {path}*, and restore the last backup (docs/backup.md)"


async def _sqlite(subject: Subject) -> list[Finding]:
    seen, found = await subject.ask(sqlite, checked=subject.is_thorough), []
    path = subject.settings.sqlite_path
    if seen.damage:
        found.append(tell("damaged", f"{path} is damaged: {seen.damage[:200]}", _restore(path)))
    elif seen.is_empty and _was_used(subject.settings):
        what = "has no tables" if seen.bytes else "is empty"
        text = f"{path} {what}, and Mailward was in use on this folder"
        found.append(tell("damaged", text, _restore(path)))
    if seen.journal_mode != "wal":
        text = f"{path} is in journal mode {seen.journal_mode}: readers and writers wait for each other"
        fix = "keep the data folder on a local disk, not on a network file system, and restart Mailward"
        found.append(tell("not-wal", text, fix))
    whole = "whole, " if subject.is_thorough else ""
    text = f"SQLite {seen.version}: {whole}with a write-ahead log; commits are on the disk before they count"
    return found or [good(text)]


async def _postgresql(subject: Subject) -> list[Finding]:
    settings = subject.settings
    seen = await subject.ask(postgresql)
    major, found = seen.version // 10_000, []
    if major < _OLDEST_POSTGRESQL:
        text = (
            f"PostgreSQL {major} is older than {_OLDEST_POSTGRESQL}, the oldest that Mailward is tested with"
        )
        found.append(tell("old-postgresql", text, "upgrade it: pg_upgradecluster"))
    if seen.is_standby:
        text = "this server is a standby: it takes no writes"
        found.append(tell("standby", text, "[database] host = the primary"))
    if not settings.database.direct_host and await subject.ask(is_shared):
        text = (
            "a pooler in transaction mode stands before the server: NOTIFY and locks do not work through it"
        )
        fix = "pgbouncer.ini: pool_mode = session, or [database] direct_host = the server itself"
        found.append(tell("pooler", text, fix))
    if await subject.ask(is_left_behind, settings):
        found.append(tell("not-copied", *tell_left_behind(settings)))
    nodes = max(len(settings.policy_host.nodes), 1)
    needed = nodes * _PROCESSES * settings.database.connections + _SPARE_CONNECTIONS
    if seen.max_connections < needed:
        text = (
            f"{nodes} nodes of {_PROCESSES} processes with {settings.database.connections} connections each may "
            f"want {needed}, and the server grants {seen.max_connections}"
        )
        fix = f"postgresql.conf: max_connections = {needed}, or [database] connections = fewer"
        found.append(tell("few-connections", text, fix))
    # a pooler is an address too, beside those of the nodes, which come to the server itself as well
    machines = seen.machines - bool(settings.database.direct_host)
    if machines > nodes:
        text = (
            f"{machines} machines use this database, and policy_host.nodes names "
            f"{len(settings.policy_host.nodes) or 'none'}: an id is told once those serve its policy"
        )
        fix = "policy_host.nodes = address:port of every machine that serves policies, on each of them"
        found.append(tell("nodes-unnamed", text, fix))
    found += await _client(settings, major)
    found += _safety(settings, seen.uses_tls, seen.synchronous_commit, seen.lag_seconds)
    version = f"PostgreSQL {major}.{seen.version % 10_000}"
    state = f"{seen.connections} of {seen.max_connections} connections in use"
    return found or [good(f"{version}: {state}{', over TLS' if seen.uses_tls else ''}")]


async def _client(settings: Settings, server: int) -> list[Finding]:
    """Nobody needs it who makes backups of his own."""
    if not settings.backup.before_migrations:
        return []
    fix = (
        f"apt install postgresql-client, {server} or later; or, with backups of your own, "
        "[backup] before_migrations = false"
    )
    fails = "a backup fails, and so does a release that changes the tables"
    if missing := missing_programs():
        text = f"{' and '.join(missing)} cannot be found here: {fails}"
        return [tell("no-postgresql-client", text, fix)]
    version = await dump_version(settings.database)
    # pg_dump refuses a server whose major version is newer than its own
    if version is not None and version < server:
        text = f"pg_dump {version} is older than the server, {server}, and refuses it: {fails}"
        return [tell("old-postgresql-client", text, fix)]
    return []


def _safety(
    settings: Settings, uses_tls: bool, synchronous_commit: str, lag_seconds: float | None
) -> Iterator[Finding]:
    host = settings.database.host
    if host and not host.startswith("/") and host not in ("localhost", "127.0.0.1", "::1") and not uses_tls:
        text = f"the connection to {host} is in the clear, reports and sealed keys with it"
        yield tell("database-in-clear", text, '[database] tls = "verify-full"')
    if synchronous_commit == "off":
        text = "synchronous_commit is off: what was answered with 250 may be lost with the server's power"
        yield tell("not-durable", text, "postgresql.conf: synchronous_commit = on")
    if lag_seconds is not None and lag_seconds > _MAX_LAG_SECONDS:
        text = f"a standby is {lag_seconds:.0f} seconds behind"
        yield tell("standby-behind", text, "SELECT * FROM pg_stat_replication; see the standby's log")
