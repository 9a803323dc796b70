"""Ten thousand hosted names, and the database goes away: every policy is served, also after a restart."""

import asyncio
import ssl
from pathlib import Path

import pytest
from django.db import connection

from mailward.config import Settings
from mailward.hosting.fetchcounts import FetchCounter
from mailward.hosting.policyweb import PolicyHost, serve_policies
from mailward.hosting.snapshot import SnapshotKeeper
from mailward.store.models import DailyFetches, Domain, HostingGeneration, Organisation, PolicyVersion
from mailward.store.services.hosting import bump_generation

NAMES = 10_000
TLS_NAMES = range(0, NAMES, 250)


def text_of(number: int) -> str:
    return f"version: STSv1\r\nmode: testing\r\nmx: mx{number % 10}.test\r\nmax_age: 86400\r\n"


@pytest.fixture
def hosted(organisation: Organisation) -> None:
    domains = Domain.objects.bulk_create(
        Domain(organisation=organisation, name=f"d{n}.test", report_token=f"r{n}", claim_token="c")
        for n in range(NAMES)
    )
    PolicyVersion.objects.bulk_create(
        PolicyVersion(
            organisation=organisation, domain=domain, number=1, policy_id="1", mode="testing",
            max_age_seconds=86400, text=text_of(n),
        )
        for n, domain in enumerate(domains)
    )  # fmt: skip
    run_sql(
        "UPDATE store_domain SET current_version_id ="
        " (SELECT id FROM store_policyversion WHERE domain_id = store_domain.id)"
    )
    bump_generation()


def run_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


async def fetch(port: int, context: ssl.SSLContext, number: int) -> bytes:
    name = f"mta-sts.d{number}.test"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    writer.write(
        f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await reader.read()
    writer.close()
    return answer


async def serve_and_fetch(settings: Settings, keeper: SnapshotKeeper, counter: FetchCounter) -> None:
    server = await serve_policies(settings, keeper, port=0, counter=counter)
    try:
        await keeper.refresh()
        await counter.flush()
        context = ssl.create_default_context(cafile=settings.data_path / "ca" / "ca.pem")
        for number in TLS_NAMES:
            answer = await fetch(server.port, context, number)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(text_of(number).encode())
        await counter.flush()
    finally:
        await server.close(grace_seconds=0)


@pytest.mark.django_db(transaction=True)
def test_all_is_served_and_counted_while_the_database_is_away(hosted: None, tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path))
    keeper, counter = SnapshotKeeper(tmp_path / "snapshot.json"), FetchCounter()
    asyncio.run(keeper.refresh())
    tables = [model._meta.db_table for model in (HostingGeneration, Domain, DailyFetches)]
    for table in tables:
        run_sql(f"ALTER TABLE {table} RENAME TO {table}_gone")
    try:
        asyncio.run(serve_and_fetch(settings, keeper, counter))
        restarted = SnapshotKeeper(tmp_path / "snapshot.json")
        host = PolicyHost(restarted, "policies.provider.test", log_requests=False)
        for number in range(NAMES):
            name = f"mta-sts.d{number}.test"
            request = f"GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: {name}\r\n\r\n".encode()
            answer = host.shortcut(request, "192.0.2.1", name)
            assert answer is not None
            assert answer.data.endswith(text_of(number).encode())
        asyncio.run(serve_and_fetch(settings, restarted, counter))
    finally:
        for table in tables:
            run_sql(f"ALTER TABLE {table}_gone RENAME TO {table}")
    asyncio.run(counter.flush())
    counts = DailyFetches.objects.values_list("domain__name", "fetches")
    assert dict(counts) == {f"d{number}.test": 2 for number in TLS_NAMES}
    for each in (keeper, restarted):
        each.close()
