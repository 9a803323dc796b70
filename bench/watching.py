"""What watching 10,000 domains with 30 MX hosts costs by itself: no network, what each look brings is made up.

    bench/run watching [--domains 10000] [--hosts 30]

Rounds over all domains, each as the worker keeps a check (store.services.watching.keep): the first look, looks that
see the same, a round in which one domain in a hundred has changed; then an MX host's certificate breaks, and all
domains that have it are judged anew. Told are processor time and time in SQL a check, and how the database grows.
"""

import argparse
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out" / "watching"
shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir(parents=True)
os.environ["MAILWARD_DATA"] = str(OUT)
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mailward.web.settings")

import django  # noqa: E402

django.setup()

from cryptography.hazmat.primitives.serialization import Encoding  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from tests.zoo.certs import Zoo  # noqa: E402

from mailward.config import Settings  # noqa: E402
from mailward.core.check.facts import (  # noqa: E402
    Facts,
    Fetch,
    Found,
    Lookup,
    MxHost,
    PolicyHost,
    Reach,
    ReportTarget,
    Session,
    Tls,
    TrustError,
)  # fmt: skip
from mailward.core.names import Domain as Name  # noqa: E402
from mailward.net import clock  # noqa: E402
from mailward.store.models import Check, Domain, Organisation, Problem, ProblemDomain  # noqa: E402
from mailward.store.services import mxlooks, watching  # noqa: E402
from mailward.store.services.watching import Seen  # noqa: E402

SETTINGS = Settings()
MX_A_DOMAIN = 2
EHLO = ("PIPELINING", "SIZE 52428800", "STARTTLS", "8BITMIME")


@dataclass
class Meter:
    """Processor time, time in SQL, and statements of what ran under it."""

    sql: float = 0.0
    statements: int = 0
    cpu: float = 0.0

    def __call__(self, execute: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - as Django's wrappers
        start = time.perf_counter()
        try:
            return execute(*arguments)
        finally:
            self.sql += time.perf_counter() - start
            self.statements += 1


class World:
    def __init__(self, domains: int, hosts: int) -> None:
        self.zoo = Zoo(OUT)
        self.names = [f"mx{number}.provider.example" for number in range(hosts)]
        self.sessions = [self._session(name, "good", number) for number, name in enumerate(self.names)]
        self.known: dict[str, int] = {}
        organisation = Organisation.objects.create(name="Provider", report_token="o")
        Domain.objects.bulk_create(
            Domain(organisation=organisation, name=f"d{n}.example", report_token=f"t{n}", claim_token="c")
            for n in range(domains)
        )
        self.ids = list(Domain.objects.order_by("id").values_list("id", "name"))
        # a certificate a domain is what the policy hosts of a platform have; sixteen of them are as large as any
        self.policy_chains = [self._chain("good", f"mta-sts.d{n}.example") for n in range(16)]

    def _chain(self, kind: str, name: str) -> tuple[bytes, ...]:
        return tuple(each.public_bytes(Encoding.DER) for each in self.zoo.issue(kind, name).certificates)

    def _session(self, name: str, kind: str, number: int) -> Session:
        errors = (TrustError(18, 0, "self-signed certificate"),) if kind == "self-signed" else ()
        seen = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", self._chain(kind, name), errors)
        return Session(f"192.0.2.{number}", Reach.SPOKE, banner=f"220 {name}", extensions=EHLO, tls=seen)

    def look(self, number: int) -> None:
        known = mxlooks.keep(self.names[number], self.sessions[number], was_deep=False)
        assert known.look_id
        self.known[self.names[number]] = known.look_id

    def break_host(self, number: int) -> None:
        self.sessions[number] = self._session(self.names[number], "self-signed", number)
        self.look(number)

    def seen(self, at: int, name: str, change: str = "") -> Seen:
        used = [(at * 7 + step * 11) % len(self.names) for step in range(MX_A_DOMAIN)]
        hosts = tuple(self._host(number) for number in dict.fromkeys(used))
        ids = tuple(self.known[host.name] for host in hosts)
        return Seen(self._facts(at, name, hosts, change), ids, {host.name: clock.now() for host in hosts})

    def _host(self, number: int) -> MxHost:
        name, session = self.names[number], self.sessions[number]
        return MxHost(
            name,
            _found(name, "A", session.address),
            _none(name, "AAAA"),
            (_none(f"_25._tcp.{name}", "TLSA"),),
            (session,),
        )

    def _facts(self, at: int, name: str, hosts: tuple[MxHost, ...], change: str) -> Facts:
        body = "version: STSv1\nmode: enforce\n" + "".join(f"mx: {host.name}\n" for host in hosts)
        policy = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384", self.policy_chains[at % 16])
        fetch = Fetch("192.0.2.200", body=f"{body}max_age: 604800\n".encode(), tls=policy)
        web = f"mta-sts.{name}"
        return Facts(
            Name(name), clock.now(), True,
            _found(name, "MX", *(f"10 {host.name}" for host in hosts)), hosts,
            _found(f"_mta-sts.{name}", "TXT", f"v=STSv1; id=20261129{change};"), (),
            PolicyHost(_found(web, "A", "192.0.2.200"), _none(web, "AAAA"), (fetch,)),
            _found(f"_smtp._tls.{name}", "TXT", f"v=TLSRPTv1; rua=mailto:tls@{name}"),
            (ReportTarget(f"mailto:tls@{name}", name, True),),
        )  # fmt: skip


def _found(name: str, kind: str, *records: str) -> Lookup:
    texts = tuple(record.encode() for record in records) if kind == "TXT" else ()
    return Lookup(name, kind, Found.FOUND, records, texts)


def _none(name: str, kind: str) -> Lookup:
    return Lookup(name, kind, Found.NODATA)


def measure(title: str, count: int, work: Callable[[], object]) -> None:
    meter, before = Meter(), _size()
    cpu = time.process_time()
    with connection.execute_wrapper(meter):
        work()
    meter.cpu = time.process_time() - cpu
    grown = _size() - before
    print(
        f"{title:<46} {1000 * meter.cpu / count:7.2f} ms CPU {1000 * meter.sql / count:6.2f} ms SQL"
        f" {meter.statements / count:6.1f} statements {grown / count:8.0f} bytes a check"
        f" ({meter.cpu:.1f} s, {grown / 2**20:.1f} MiB)",
        flush=True,
    )


def _size() -> int:
    connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (OUT / "mailward.sqlite3").stat().st_size


def round_of(world: World, changed_every: int = 0, change: str = "") -> None:
    for at, (domain_id, name) in enumerate(world.ids):
        is_changed = bool(changed_every) and at % changed_every == 0
        watching.keep(domain_id, world.seen(at, name, change if is_changed else ""), SETTINGS)


def rejudge(world: World, host: str) -> None:
    for domain_id in watching.domains_with(host):
        watching.rejudge(domain_id, host, SETTINGS)


def break_and_tell(world: World) -> None:
    """The first domain sees it twice; the others are judged by that."""
    world.break_host(0)
    first = watching.domains_with(world.names[0])[0]
    at = next(at for at, (domain_id, _) in enumerate(world.ids) if domain_id == first)
    for minutes in (0, 6):
        with clock.frozen(clock.now() + timedelta(minutes=minutes)):
            watching.keep(first, world.seen(at, world.ids[at][1]), SETTINGS)
    rejudge(world, world.names[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--domains", type=int, default=10_000)
    parser.add_argument("--hosts", type=int, default=30)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    world = World(options.domains, options.hosts)
    for number in range(options.hosts):
        world.look(number)
    count = options.domains
    start = clock.now()
    with clock.frozen(start):
        measure("giving all a place in the schedule", count, lambda: watching.plan_new(SETTINGS))
        measure("the first look", count, lambda: round_of(world))
    for hour in (1, 2):
        with clock.frozen(start + timedelta(hours=hour)):
            measure("the same again", count, lambda: round_of(world))
    with clock.frozen(start + timedelta(hours=3)):
        measure("one in a hundred has another id", count, lambda: round_of(world, 100, "X"))
    sharing = len(watching.domains_with(world.names[0]))
    with clock.frozen(start + timedelta(hours=4)):
        measure(f"an MX host of {sharing} breaks", sharing, lambda: break_and_tell(world))
        measure("asking which are due, 240 times", 240, lambda: [watching.put_due(500) for _ in range(240)])
    print(
        f"{Problem.objects.count()} problem with {ProblemDomain.objects.count()} domains, "
        f"{Check.objects.count()} states"
    )


if __name__ == "__main__":
    main()
