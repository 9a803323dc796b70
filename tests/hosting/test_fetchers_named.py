"""The policy host as it runs: clients that say nothing of use are counted under what their address is called."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from tests.fakes.dns import FakeDns
from tests.fakes.ports import free_port

from mailward.config import Certificates, Dns, PolicyHost, Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.hosting import fetchcounts, policyweb
from mailward.net.certificates import authority_folder
from mailward.store.aio import in_store
from mailward.store.models import DailyFetches, Domain, Organisation
from mailward.store.services.policies import publish_policy

pytestmark = pytest.mark.django_db(transaction=True)
HOST = "mta-sts.example.test"


def prepare() -> None:
    organisation = Organisation.objects.create(name="One", report_token="0rganisation")
    domain = Domain.objects.create(
        organisation=organisation, name="example.test", report_token="rep0rt", claim_token="c"
    )
    policy = Policy(Mode.TESTING, 86_400, ("mx.example.test",))
    publish_policy(organisation.pk, domain.pk, policy, author_id=None)


async def fetch(settings: Settings) -> bytes:
    context = ssl.create_default_context(cafile=authority_folder(settings) / "ca.pem")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", settings.policy_port, ssl=context, server_hostname=HOST
    )
    writer.write(f"GET /.well-known/mta-sts.txt HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_fetcher_is_named_by_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetchcounts, "FLUSH_SECONDS", 0.1)
    await in_store(prepare)
    async with FakeDns() as dns:
        dns.set("1.0.0.127.in-addr.arpa", "PTR", "mail-a.google.com.")
        settings = Settings(
            data=str(tmp_path),
            policy_host=PolicyHost(listen=("127.0.0.1",), port=free_port()),
            certificates=Certificates(development_ca=True),
            dns=Dns(resolvers=(dns.address,), allow_private_addresses=True),
        )
        running = asyncio.create_task(policyweb.run(settings))
        try:
            answer, found = b"", set[str]()
            for _ in range(200):
                with contextlib.suppress(OSError):
                    if not answer.startswith(b"HTTP/1.1 200"):
                        answer = await fetch(settings)
                if found := await in_store(_fetchers):
                    break
                await asyncio.sleep(0.1)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert answer.startswith(b"HTTP/1.1 200")
    assert found == {"google"}


def _fetchers() -> set[str]:
    return set(DailyFetches.objects.filter(status=200).values_list("fetcher", flat=True))
