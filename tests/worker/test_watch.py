"""A watched domain from outside: a DNS server and mail servers on loopback, and a relay for what people are told."""

import email
import email.policy
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
import pytest
from asgiref.sync import async_to_sync
from tests.core.check.made import MX as MX_OF_POLICY
from tests.core.check.made import POLICY, TESTING, facts, host, serving, session, tls
from tests.fakes.certs import Authority
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.evidence import make_domains, make_organisation, report_failures, report_success
from tests.fakes.mailserver import FakeMailServer
from tests.fakes.relay import FakeRelay

from mailward.config import Dns, Problems, Settings, Watch
from mailward.core.check.codes import Code
from mailward.core.check.finding import Finding
from mailward.core.check.run import run
from mailward.core.explain.explanation import Severity
from mailward.net import clock
from mailward.store.models import (
    Check,
    Domain,
    Membership,
    MxLook,
    Organisation,
    OutboxItem,
    Problem,
    ProblemDomain,
    Role,
    User,
    WatchFinding,
)
from mailward.store.models import Watch as WatchRow
from mailward.store.services import mxlooks, outbox, watching
from mailward.store.services.findings import Basis, settle
from mailward.store.services.mxlooks import Claim
from mailward.worker import run_once
from mailward.worker.timed import TIMED

NOON = clock.now().replace(hour=12, minute=0, second=0, microsecond=0)
MX = "mx.example.net"

pytestmark = pytest.mark.django_db


@pytest.fixture
def dns() -> Iterator[FakeDns]:
    server = FakeDns()
    server.set(MX, "A", "127.0.0.1")
    with server.threaded():
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority: Authority) -> Iterator[FakeMailServer]:
    made = FakeMailServer(authority.issue(MX))
    with made.running():
        yield made


@pytest.fixture
def settings(dns: FakeDns, authority: Authority, server: FakeMailServer, relay: FakeRelay) -> Settings:
    return Settings(
        dns=Dns(
            resolvers=(dns.address,), authoritative_override=(dns.address,), allow_private_addresses=True
        ),
        relay=relay.settings,
        watch=Watch(smtp_port=server.port, ca_file=str(authority.file), https_port=1),
    )


@pytest.fixture
def organisation() -> Organisation:
    made = make_organisation()
    Membership.objects.create(
        organisation=made, user=User.objects.create(email="alice@example.net"), role=Role.READER
    )
    return made


def add(dns: FakeDns, organisation: Organisation, *names: str) -> list[Domain]:
    """Domains without MTA-STS, on the one MX host."""
    for name in names:
        dns.set(name, "MX", f"10 {MX}.")
        dns.set(f"_smtp._tls.{name}", "TXT", f"v=TLSRPTv1; rua=mailto:tls@{name}")
    return make_domains(organisation, names)


def work(settings: Settings, at: datetime) -> None:
    """What a worker does that looks at the time at this moment."""
    with clock.frozen(at):
        for timed in TIMED:
            if timed.name == "watch":
                async_to_sync(timed.run)(settings)
        async_to_sync(run_once)(settings)


def watch(settings: Settings, start: datetime, hours: float) -> datetime:
    """Look at the time every six minutes. Returns when that ended."""
    end = start + timedelta(hours=hours)
    while start < end:
        start += timedelta(minutes=6)
        work(settings, start)
    return start


def subjects(relay: FakeRelay) -> list[str]:
    parsed = (email.message_from_bytes(mail.content, policy=email.policy.default) for mail in relay.mails)
    return [str(message["Subject"]) for message in parsed]


def open_problems() -> set[tuple[str, str, int]]:
    rows = Problem.objects.filter(closed_at__isnull=True)
    return {(row.cause, row.host, row.domains.filter(gone_at__isnull=True).count()) for row in rows}


def dials(server: FakeMailServer) -> int:
    return sum(command.startswith("EHLO") for command in server.commands) - sum(
        command == "STARTTLS" for command in server.commands
    )


def test_what_was_so_when_we_first_looked_is_shown_and_nobody_is_told(
    dns: FakeDns, settings: Settings, organisation: Organisation, relay: FakeRelay
) -> None:
    [domain] = add(dns, organisation, "one.test")
    watch(settings, NOON, 2)
    check = Check.objects.get()
    assert ["sts-absent", "warning", "_mta-sts.one.test"] in check.findings
    assert WatchFinding.objects.get(domain=domain).is_baseline
    assert open_problems() == set()
    assert relay.mails == []


def test_a_fault_opens_a_problem_once_it_was_seen_twice_people_are_told_once_and_it_closes_when_mended(
    dns: FakeDns, settings: Settings, organisation: Organisation, relay: FakeRelay
) -> None:
    add(dns, organisation, "one.test")
    now = watch(settings, NOON, 1)
    dns.set("one.test", "MX", f"10 {MX}.", "20 gone.example.net.")
    now = watch(settings, now, 1.3)
    assert open_problems() == {("mx-host-unresolvable", "gone.example.net", 1)}
    now = watch(settings, now, 0.3)
    assert len(relay.mails) == 1
    assert "gone.example.net" in subjects(relay)[0]
    text = relay.mails[0].content.decode()
    assert "Mailward saw it itself" in text
    dns.set("one.test", "MX", f"10 {MX}.")
    watch(settings, now, 1.4)
    assert open_problems() == set()
    assert len(relay.mails) == 1
    assert [row.changes for row in Check.objects.order_by("id")][1:] != [[], []]


def test_an_mx_fault_of_many_domains_is_one_problem_one_mail_and_few_connections(
    dns: FakeDns,
    settings: Settings,
    organisation: Organisation,
    relay: FakeRelay,
    server: FakeMailServer,
    authority: Authority,
) -> None:
    names = [f"d{number}.test" for number in range(5)]
    add(dns, organisation, *names)
    now = watch(settings, NOON, 2.5)
    assert dials(server) == 1, "one handshake a day, whoever asks"
    assert MxLook.objects.count() == 1
    server.replies["EHLO"] = b"250 mx.example.net\r\n"
    now = watch(settings, now + timedelta(hours=23), 1)
    assert ("starttls-not-supported", MX, 5) in open_problems()
    told = [subject for subject in subjects(relay) if "STARTTLS" in subject]
    assert told == ["Mailward: no STARTTLS offered on mx.example.net (5 domains)"]
    before = dials(server)
    now = watch(settings, now, 3)
    assert dials(server) - before <= 4, "hourly while a problem is open"
    server.replies["EHLO"] = b"250-mx.example.net\r\n250 STARTTLS\r\n"
    watch(settings, now, 2)
    assert not {each for each in open_problems() if each[0] == "starttls-not-supported"}
    assert len([subject for subject in subjects(relay) if "STARTTLS" in subject]) == 1


def test_what_reports_and_checks_both_see_is_one_problem_and_one_mail(
    dns: FakeDns, settings: Settings, organisation: Organisation, relay: FakeRelay, server: FakeMailServer
) -> None:
    """The check says self-signed; reports have no finer word than not trusted."""
    [domain] = add(dns, organisation, "one.test")
    now = watch(settings, NOON, 0.5)
    for reporter in ("google.test", "microsoft.test"):
        report_failures([domain], now.date(), reporter, host=MX, result_type="certificate-not-trusted")
    with clock.frozen(now):
        outbox.put("assess", str(domain.pk))
    now = watch(settings, now, 0.5)
    assert open_problems() == {("certificate-not-trusted", MX, 1)}
    with clock.frozen(now):
        _show(domain, "certificate-self-signed", MX)
    assert open_problems() == {("certificate-self-signed", MX, 1)}
    assert Problem.objects.get().result_type == "certificate-not-trusted"
    watch(settings, now, 0.5)
    assert len(relay.mails) == 1


def test_a_problem_of_both_is_over_when_neither_sees_it(
    dns: FakeDns, settings: Settings, organisation: Organisation
) -> None:
    [domain] = make_domains(organisation, ["one.test"])
    with clock.frozen(NOON):
        _show(domain, "certificate-expired", MX)
        report_failures([domain], NOON.date(), "google.test", host=MX)
        outbox.put("assess", str(domain.pk))
        async_to_sync(run_once)(settings)
        touched = ProblemDomain.objects.get()
        assert (touched.is_reported, touched.is_checked) == (True, True)
        _show(domain, "certificate-expired", MX, is_there=False)
    assert open_problems() == {("certificate-expired", MX, 1)}, "reports still tell of it"
    with clock.frozen(NOON + timedelta(days=3)):
        report_success([domain], NOON.date() + timedelta(days=1), "google.test")
        outbox.put("assess", str(domain.pk))
        async_to_sync(run_once)(settings)
    assert open_problems() == set()


def test_late_reports_of_the_day_it_was_mended_open_nothing_again(
    dns: FakeDns, settings: Settings, organisation: Organisation
) -> None:
    [domain] = make_domains(organisation, ["one.test"])
    with clock.frozen(NOON):
        _show(domain, "certificate-expired", MX)
        _show(domain, "certificate-expired", MX, is_there=False)
    assert open_problems() == set()
    with clock.frozen(NOON + timedelta(days=1)):
        for reporter in ("google.test", "microsoft.test"):
            report_failures([domain], NOON.date(), reporter, host=MX)
        outbox.put("assess", str(domain.pk))
        async_to_sync(run_once)(settings)
    assert open_problems() == set()


def test_reports_that_are_clean_do_not_end_what_checks_see(
    dns: FakeDns, settings: Settings, organisation: Organisation
) -> None:
    [domain] = make_domains(organisation, ["one.test"])
    with clock.frozen(NOON):
        _show(domain, "certificate-expired", MX)
    for days in range(1, 5):
        with clock.frozen(NOON + timedelta(days=days)):
            report_success([domain], (NOON + timedelta(days=days)).date(), "google.test")
            outbox.put("assess", str(domain.pk))
            async_to_sync(run_once)(settings)
    assert open_problems() == {("certificate-expired", MX, 1)}


def test_a_server_that_falls_silent_opens_and_ends_nothing_and_the_page_knows_why(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer
) -> None:
    [domain] = add(dns, organisation, "one.test")
    server.replies["EHLO"] = b"250 mx.example.net\r\n"
    now = watch(settings, NOON, 0.5)
    before = set(Check.objects.values_list("id", flat=True))
    server.greeting = b"421 4.3.2 come back later\r\n"
    watch(settings, now + timedelta(hours=26), 1)
    assert set(Check.objects.values_list("id", flat=True)) == before
    [[about, reason]] = WatchRow.objects.get(domain=domain).unobserved
    assert about == f"{MX} at 127.0.0.1"
    assert "421 4.3.2 come back later; judged by what was seen" in reason


def test_a_dns_server_that_drops_one_answer_is_no_news(
    dns: FakeDns, settings: Settings, organisation: Organisation, relay: FakeRelay
) -> None:
    add(dns, organisation, "one.test")
    now = watch(settings, NOON, 0.5)
    dns.fail(Fault.SERVFAIL)
    with clock.frozen(now + timedelta(hours=2)):
        work(settings, now + timedelta(hours=2))
    assert WatchFinding.objects.filter(code="mx-lookup-failed").exists()
    dns.heal()
    watch(settings, now + timedelta(hours=2), 0.3)
    assert open_problems() == set()
    assert relay.mails == []


def test_what_the_first_look_could_not_see_is_no_news_at_the_second(
    dns: FakeDns, settings: Settings, organisation: Organisation, relay: FakeRelay
) -> None:
    [domain] = add(dns, organisation, "one.test")
    dns.fail(Fault.SERVFAIL, "_mta-sts.one.test")
    work(settings, NOON)
    dns.heal()
    watch(settings, NOON, 2)
    assert WatchFinding.objects.get(domain=domain, code="sts-absent").is_baseline
    assert open_problems() == set()
    assert relay.mails == []


def test_a_new_start_knows_what_was_seen_before(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer
) -> None:
    add(dns, organisation, "one.test")
    now = watch(settings, NOON, 0.2)
    other = msgspec.structs.replace(settings)  # of another process
    watch(other, now, 2)
    assert dials(server) == 1


def test_an_address_has_so_many_connections_an_hour_whoever_asks() -> None:
    def claim(host: str = MX) -> Claim:
        said = mxlooks.claim(host, "192.0.2.1", connections=1, most_an_hour=3, lease=timedelta(minutes=2))
        if said is Claim.OURS:
            mxlooks.release(host, "192.0.2.1")
        return said

    with clock.frozen(NOON):
        assert [claim(f"mx{number}.example.net") for number in range(4)] == [Claim.OURS] * 3 + [Claim.FULL]
    with clock.frozen(NOON + timedelta(minutes=61)):
        assert claim() is Claim.OURS


def test_a_host_and_an_address_are_spoken_to_by_one_worker_at_a_time() -> None:
    def claim(host: str, address: str) -> Claim:
        return mxlooks.claim(host, address, connections=1, most_an_hour=30, lease=timedelta(minutes=2))

    with clock.frozen(NOON):
        assert claim(MX, "192.0.2.1") is Claim.OURS
        assert claim(MX, "192.0.2.2") is Claim.BUSY, "another address of the host"
        assert claim("other.example.net", "192.0.2.1") is Claim.BUSY, "another name of the address"
        assert claim("other.example.net", "192.0.2.3") is Claim.OURS
    with clock.frozen(NOON + timedelta(minutes=3)):
        assert claim(MX, "192.0.2.1") is Claim.OURS, "a worker that died gives it back"


def test_many_new_domains_are_spread_over_an_interval(settings: Settings, organisation: Organisation) -> None:
    make_domains(organisation, [f"d{number}.test" for number in range(100)])
    with clock.frozen(NOON):
        assert watching.plan_new(settings) == 100
        assert watching.put_due(1000) < 10
    due = WatchRow.objects.values_list("due_at", flat=True)
    assert max(due) - min(due) > timedelta(minutes=30)


def test_states_and_looks_are_kept_no_longer_than_the_settings_say(
    dns: FakeDns, settings: Settings, organisation: Organisation, server: FakeMailServer
) -> None:
    [domain] = add(dns, organisation, "one.test")
    few = msgspec.structs.replace(settings, watch=msgspec.structs.replace(settings.watch, keep_changes=3))
    now = NOON
    for number in range(6):
        dns.set(f"_smtp._tls.{domain.name}", "TXT", f"v=TLSRPTv1; rua=mailto:t{number}@one.test")
        now += timedelta(hours=2)
        work(few, now)
    assert Check.objects.count() == 3
    with clock.frozen(now + timedelta(days=500)):
        watching.sweep(few)
    assert Check.objects.count() == 1, "the present state stays"


def _show(domain: Domain, code: str, host: str, *, is_there: bool = True) -> None:
    """As if checks had shown this often enough, and nothing else."""
    found = [Finding(Code(code), Severity.CRITICAL, host, ("192.0.2.1: seen",))] if is_there else []
    report = replace(run(facts()), findings=tuple(found))
    basis = Basis(clock.now(), {}, confirmed=frozenset({host}))
    settle(domain.organisation_id, domain.pk, report, basis, Problems(settle_minutes=0))


@pytest.mark.parametrize("code", [Code.MX_NOT_IN_POLICY, Code.CERTIFICATE_HOST_MISMATCH])
def test_what_cost_no_mail_at_the_first_look_is_told_once_it_does(
    organisation: Organisation, code: Code
) -> None:
    (domain,) = make_domains(organisation, ["example.test"])
    elsewhere = {"hosts": (host(session(tls=tls(name="other.test"))),)}
    uncovered = code is Code.MX_NOT_IN_POLICY

    def check(hour: int, body: bytes) -> None:
        body = body.replace(b"mx: mx.", b"mx: other.") if uncovered else body
        seen = facts(**serving(body), **({} if uncovered else elsewhere))
        with clock.frozen(NOON + timedelta(hours=hour)):
            basis = Basis(clock.now(), {}, is_first_check=hour == 0)
            settle(domain.organisation_id, domain.pk, run(seen), basis, Problems())

    for hour, body in enumerate((TESTING, TESTING, TESTING, POLICY)):
        check(hour, body)
        assert open_problems() == set()
    check(4, POLICY)
    assert open_problems() == {(code.value, MX_OF_POLICY, 1)}


def test_octets_that_no_database_takes_are_told_of_all_the_same(
    dns: FakeDns, settings: Settings, organisation: Organisation
) -> None:
    (domain,) = add(dns, organisation, "example.test")
    for name in ("_mta-sts", "_smtp._tls"):
        dns.set(f"{name}.example.test", "TXT", b"v=STSv1; id=\0;", b"v=TLSRPTv1; rua=mailto:\0@x", b"\0")
    dns.set("mta-sts.example.test", "A", "127.0.0.1")
    watch(settings, NOON, 1)
    assert WatchFinding.objects.filter(domain=domain).exists()
    assert not OutboxItem.objects.filter(kind="watch").exists()
