"""What the doctor says of a PostgreSQL server: a real one."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.doctor.looking import NOBODY, look, told

from mailward.config import Backup, Database, PolicyHost, Settings
from mailward.core.doctor.finding import Grade
from mailward.doctor.client import dump_version
from mailward.doctor.database import look_at_database
from mailward.doctor.subject import Subject
from mailward.net.resolver import make_resolver
from mailward.store.aio import in_store
from mailward.store.queries import engine
from mailward.web.settings import MAILWARD

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


def subject(folder: Path, **database: object) -> Subject:
    there = msgspec.structs.replace(MAILWARD.database, **database)
    settings = Settings(data=str(folder), dns=NOBODY, database=there)
    return Subject(settings, make_resolver(settings.dns))


async def test_a_server_with_room_for_all_nodes_says_what_it_is(tmp_path: Path) -> None:
    # the server of the tests commits without waiting for its disk, and that is told; nothing else is
    found = await look(look_at_database, subject(tmp_path, connections=10))
    assert [each.code for each in found] == ["not-durable"]


async def test_too_few_connections_for_all_processes_are_told(tmp_path: Path) -> None:
    found = await told(look_at_database, subject(tmp_path, connections=100))
    assert "may want 605, and the server grants 400" in found["few-connections"]


async def test_without_the_programs_that_make_backups_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    here = subject(tmp_path, connections=10)
    found = await told(look_at_database, here)
    assert "psql and pg_dump and pg_restore cannot be found here" in found["no-postgresql-client"]
    own = msgspec.structs.replace(here.settings, backup=Backup(before_migrations=False))
    assert "no-postgresql-client" not in await told(look_at_database, Subject(own, here.resolver))


async def test_a_pg_dump_that_is_older_than_the_server_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("psql", "pg_dump", "pg_restore"):
        # as 9.6 says it, which no Debian here has any more
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = await told(look_at_database, subject(tmp_path, connections=10))
    assert "pg_dump 9 is older than the server" in found["old-postgresql-client"]


async def test_more_machines_than_the_settings_name_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await in_store(engine.postgresql)).machines == 1
    monkeypatch.setattr(
        "mailward.doctor.database.postgresql", lambda: replace(engine.postgresql(), machines=2)
    )
    found = await told(look_at_database, subject(tmp_path, connections=10))
    assert "2 machines use this database, and policy_host.nodes names none" in found["nodes-unnamed"]
    named = subject(tmp_path, connections=10)
    nodes = PolicyHost(nodes=("192.0.2.1", "192.0.2.2"))
    both = Subject(msgspec.structs.replace(named.settings, policy_host=nodes), named.resolver)
    assert "nodes-unnamed" not in await told(look_at_database, both)
    # the pooler's, and ours
    pooled = subject(tmp_path, connections=10, direct_host=MAILWARD.database.host)
    assert "nodes-unnamed" not in await told(look_at_database, pooled)


async def test_a_server_on_a_network_without_tls_is_told(tmp_path: Path) -> None:
    found = await told(look_at_database, subject(tmp_path, host="db.example.org"))
    assert "the connection to db.example.org is in the clear" in found["database-in-clear"]


async def test_one_that_is_away_is_a_problem_with_the_command_to_try(tmp_path: Path) -> None:
    away = msgspec.structs.replace(subject(tmp_path).settings)
    (found,) = await look(
        look_at_database, Subject(away, make_resolver(away.dns), "the database does not answer: no route")
    )
    assert (found.grade, found.code) == (Grade.PROBLEM, "database-away")
    assert "psql -h" in found.fix


async def test_where_the_local_socket_is_meant_no_command_names_it_as_a_host(tmp_path: Path) -> None:
    away = msgspec.structs.replace(subject(tmp_path, host="", user="").settings)
    (found,) = await look(
        look_at_database, Subject(away, make_resolver(away.dns), "the database does not answer: no route")
    )
    assert found.fix.endswith(f"in: psql -p 5432 {away.database.name}")


async def test_the_pg_dump_that_is_asked_is_that_of_the_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Debian's wrapper takes the release of the cluster that has the port
    (tmp_path / "pg_dump").write_text(
        '#!/bin/sh\ntest "$PGPORT" = 5433 && echo "pg_dump (PostgreSQL) 17.2"\n'
    )
    (tmp_path / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert await dump_version(Database(name="m", port=5433)) == 17
