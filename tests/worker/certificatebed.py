"""Worker, port 80 and policy host of one node, with DNS and Pebble: what a certificate takes, all of it real."""

import asyncio
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from django.db.models import QuerySet
from tests.fakes.dns import FakeDns
from tests.fakes.pebble import Pebble
from tests.fakes.ports import free_port

from mailward.config import Certificates, Dns, PolicyHost, Reports, Settings
from mailward.core.acme.settings import Acme, AcmeDirectory
from mailward.core.mtasts.policy import Mode, Policy
from mailward.hosting.certificates import IssuedCertificates
from mailward.hosting.challenges import ChallengeHost, serve_challenges
from mailward.hosting.policyweb import serve_policies
from mailward.hosting.snapshot import SnapshotKeeper
from mailward.net.httpserver import Server
from mailward.net.sealing import load_keyring
from mailward.store.aio import in_store
from mailward.store.models import (
    AcmeAccount,
    AcmeOrder,
    Certificate,
    CertificateCare,
    Domain,
    OwnNameCare,
)
from mailward.store.services import outbox
from mailward.store.services.certificates import put_due
from mailward.store.services.policies import publish_policy
from mailward.worker import loop
from mailward.worker.handlers import HANDLERS
from mailward.worker.ownnames import plan_own_names

CERTIFICATE = next(handler for handler in HANDLERS if handler.kind == "certificate")
POLICY = Policy(Mode.TESTING, 86_400, ("mx.example.test",))


_TIMES = {
    Certificate: ("not_before", "not_after", "created_at"),
    CertificateCare: ("due_at", "waiting_since", "renew_at", "ask_at", "failed_at"),
    OwnNameCare: ("due_at", "waiting_since", "renew_at", "ask_at", "failed_at"),
    AcmeAccount: ("blocked_until", "last_error_at"),
    AcmeOrder: ("placed_at", "answered_at", "ended_at"),
}


def _make_older(by: timedelta) -> None:
    for model, fields in _TIMES.items():
        for row in model._default_manager.all():
            for field in fields:
                if (at := getattr(row, field)) is not None:
                    setattr(row, field, at - by)
            if isinstance(row, CertificateCare | OwnNameCare):
                row.failures = {
                    key: [count, (datetime.fromisoformat(until) - by).isoformat()]
                    for key, (count, until) in row.failures.items()
                }
            row.save()


def _own_cares() -> QuerySet[OwnNameCare]:
    return OwnNameCare.objects.select_related("current")


class Bed:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dns = FakeDns()
        self.http_port = free_port()
        self._servers: list[Server] = []
        self.settings = Settings()
        self.issued: IssuedCertificates
        self.policies: SnapshotKeeper
        self.https_port = 0

    async def start(
        self, directories: Sequence[AcmeDirectory], *, reports: Reports | None = None, **acme: Any
    ) -> None:
        self.settings = Settings(
            data=str(self.folder),
            acme=Acme(
                directories=tuple(directories), http_port=self.http_port, reach_port=self.http_port, **acme
            ),
            dns=Dns(
                resolvers=(self.dns.address,),
                authoritative_override=(self.dns.address,),
                allow_private_addresses=True,
            ),
            reports=reports or Reports(),
            policy_host=PolicyHost(public_name="policies.test"),
            certificates=Certificates(development_ca=False),
        )
        keyring = load_keyring(self.settings)
        self.challenge_host = ChallengeHost(keyring)
        self._servers.append(await serve_challenges(self.settings, self.challenge_host))
        self.policies = SnapshotKeeper(self.folder / "snapshot.json")
        self.issued = IssuedCertificates(self.folder / "certificates.sqlite3", keyring)
        web = await serve_policies(self.settings, self.policies, port=0, issued=[self.issued])
        self._servers.append(web)
        self.https_port = web.port

    def use(self, directories: Sequence[AcmeDirectory]) -> None:
        """Other CAs from now on."""
        acme = msgspec.structs.replace(self.settings.acme, directories=tuple(directories))
        self.settings = msgspec.structs.replace(self.settings, acme=acme)

    async def stop(self) -> None:
        for server in self._servers:
            await server.close(0)
        self.issued.close()
        self.policies.close()
        self.challenge_host.close()

    def publish(self, domain: Domain) -> None:
        """What the customer publishes: the claim, and the name of the policy host."""
        self.dns.set(f"_mailward-challenge.{domain.name}", "TXT", f"mailward-claim={domain.claim_token}")
        self.dns.set(f"mta-sts.{domain.name}", "A", "127.0.0.1")

    async def publish_policy(self, domain: Domain) -> None:
        await in_store(lambda: publish_policy(domain.organisation_id, domain.pk, POLICY, author_id=None))

    async def work(self, domain: Domain) -> CertificateCare:
        """Whatever is due for the domain's certificate, and what follows at once."""
        await in_store(lambda: outbox.put("certificate", str(domain.pk)))
        return await self.work_due(domain)

    async def work_due(self, domain: Domain) -> CertificateCare:
        """What the queue has now."""
        while await loop.work_once(self.settings, CERTIFICATE):
            pass
        return await self.care(domain)

    async def work_on_own(self) -> dict[str, OwnNameCare]:
        """Whatever is due for the installation's own names, as the timer and the queue have it."""
        await plan_own_names(self.settings)
        await in_store(put_due, 100)
        for host in await in_store(lambda: [each.host for each in _own_cares()]):
            await in_store(outbox.put, "certificate", host)  # now, whatever waits
        while await loop.work_once(self.settings, CERTIFICATE):
            pass
        return await in_store(lambda: {each.host: each for each in _own_cares()})

    async def pass_time(self, by: timedelta) -> None:
        """All that is written down was so much earlier: the same as if days had passed, at the CA too, whose clock
        nobody can move.
        """
        await in_store(_make_older, by)

    async def care(self, domain: Domain) -> CertificateCare:
        return await in_store(lambda: CertificateCare.objects.select_related("current").get(pk=domain.pk))

    async def fetch(self, domain: Domain, roots: bytes) -> bytes:
        """The policy, as a sender fetches it that trusts these roots."""
        await self.issued.refresh()
        await self.policies.refresh()
        context = ssl.create_default_context(cadata=roots.decode())
        host = f"mta-sts.{domain.name}"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.https_port, ssl=context, server_hostname=host
        )
        writer.write(f"GET /.well-known/mta-sts.txt HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer


def pebble_for(bed: Bed, folder: Path, **options: Any) -> Pebble:
    """A CA that asks the bed's DNS and its port 80."""
    return Pebble(folder, dns=bed.dns.address, http_port=bed.http_port, **options)


async def certificates() -> list[Certificate]:
    return await in_store(lambda: list(Certificate.objects.order_by("sequence")))
