"""What goes wrong at CAs, in DNS and with us, and what becomes of certificates then."""

import base64
from datetime import timedelta
from email.parser import BytesParser
from email.policy import default
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.fakes.dns import FakeDns
from tests.fakes.pebble import Pebble
from tests.worker.certificatebed import Bed, certificates, pebble_for

from mailward.core.acme.faults import Fault
from mailward.core.acme.faults import Scope as AcmeScope
from mailward.core.acme.state import CareState
from mailward.net import clock
from mailward.net.acme import AcmeClient, AcmeFault
from mailward.notify.mails import build_problem_mail
from mailward.store.aio import in_store
from mailward.store.models import (
    AcmeAccount,
    AcmeOrder,
    CertificateCare,
    Domain,
    DomainRecipient,
    Notification,
    OutboxItem,
    Problem,
    Role,
)
from mailward.store.queries.installation import certificates_ending
from mailward.store.scope import Scope
from mailward.store.services import leaving, notifications
from mailward.store.services.certificates import choose, hasten, put_due, wait

pytestmark = pytest.mark.django_db(transaction=True)

HOST = "mta-sts.example.test"


@pytest.fixture(autouse=True)
def _published(bed: Bed, domain: Domain) -> None:
    bed.publish(domain)


async def test_the_next_ca_is_asked_at_once_when_the_first_is_away(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    away = pebble_for(bed, tmp_path / "away").directory
    with pebble_for(bed, tmp_path / "there") as there:
        await bed.start([away, there.directory])
        care = await bed.work(domain)
    assert care.state == CareState.GOOD
    assert care.current is not None
    assert care.current.directory == there.directory.url
    account = await in_store(lambda: AcmeAccount.objects.get(directory=away.url))
    assert (account.failures, account.url) == (1, "")
    assert "cannot be reached" in account.last_error
    assert (account.blocked_until or clock.now()) > clock.now()


async def test_a_renewal_that_no_ca_can_be_asked_for_is_told_at_once_and_done_when_one_is_back(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    first, second = (pebble_for(bed, tmp_path / name) for name in ("first", "second"))
    with first, second:
        await bed.start([first.directory, second.directory])
        care = await bed.work(domain)
        assert care.renew_at is not None
        first.stop()
        second.stop()
        await bed.pass_time(care.renew_at - clock.now() + timedelta(minutes=1))
        care = await bed.work(domain)
        assert care.state == CareState.AWAY
        assert care.detail.count("the CA cannot be reached: ") == 2
        problem = await in_store(lambda: Problem.objects.get(closed_at=None))
        assert (problem.code, problem.host) == ("certificate-authorities-away", HOST)
        told = " ".join((await in_store(alert)).split())
        assert told.count("the CA cannot be reached: ") == 2, told
        second.start()
        await bed.pass_time(timedelta(minutes=5))
        assert (await bed.work(domain)).state == CareState.GOOD
    assert not await in_store(Problem.objects.filter(closed_at=None).exists)


async def test_a_new_domain_waits_an_hour_for_its_first_ca_before_people_hear_of_it(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    await bed.start([pebble_for(bed, tmp_path / "away").directory])
    assert (await bed.work(domain)).state == CareState.AWAY
    assert not await in_store(Problem.objects.exists)
    await bed.pass_time(timedelta(hours=1.1))
    assert (await bed.work(domain)).state == CareState.AWAY
    problem = await in_store(lambda: Problem.objects.get(closed_at=None))
    assert problem.code == "certificate-authorities-away"


async def test_a_name_that_one_ca_refuses_is_had_from_another(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    strict = pebble_for(bed, tmp_path / "strict", version="2.6", domainBlocklist=["example.test"])
    with strict, pebble_for(bed, tmp_path / "there") as there:
        await bed.start([strict.directory, there.directory])
        care = await bed.work(domain)
        assert care.current is not None
        assert care.current.directory == there.directory.url


async def test_a_name_that_every_ca_refuses_is_told_in_the_ca_s_words(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "strict", version="2.6", domainBlocklist=["example.test"]) as strict:
        await bed.start([strict.directory])
        care = await bed.work(domain)
        assert care.state == CareState.FAILING
        problem = await in_store(lambda: Problem.objects.get(closed_at=None))
        assert (problem.code, problem.host) == ("certificate-not-issued", HOST)
        assert "blocked" in care.detail.lower() or "policy" in care.detail.lower()
        # the alert itself has them, from the first failure on
        told = await in_store(alert)
        assert care.detail in " ".join(told.split())
        assert "Mailward asked for the certificate of 1 domain, and did not get it." in " ".join(told.split())
        # a minute later it is tried again, and after the second time it takes longer
        first = care.due_at
        assert timedelta(seconds=30) < first - clock.now() < timedelta(seconds=90)
        await bed.pass_time(timedelta(minutes=2))
        care = await bed.work(domain)
        assert timedelta(minutes=2) < care.due_at - clock.now() < timedelta(minutes=6)


def alert(code: str = "") -> str:
    """The mail about the open problem (of this code), as a mail program shows it to somebody who has no login."""
    domain = Domain.objects.get()
    DomainRecipient.objects.create(
        organisation=domain.organisation, domain=domain, email="postmaster@example.test"
    )
    problems = Problem.objects.filter(closed_at=None, code__contains=code)
    notifications.queue(problems.values_list("pk", flat=True), "mailward.test")
    letter = notifications.letter(Notification.objects.get().message_id)
    assert letter is not None
    built = build_problem_mail(letter, sender="mailward@host.test", console_url="https://console.test")
    body = BytesParser(policy=default).parsebytes(built).get_body()
    assert body is not None
    return str(body.get_content())


async def test_a_domain_has_its_certificate_from_the_ca_and_of_the_kind_that_were_chosen(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    profiles = {"shortlived": {"description": "six days", "validityPeriod": 518_400}}
    chosen = pebble_for(bed, tmp_path / "chosen", version="forky", profiles=profiles)
    with pebble_for(bed, tmp_path / "first") as first, chosen:
        await bed.start([first.directory, chosen.directory])
        scope = Scope(domain.organisation_id, 0, Role.OWNER)
        await in_store(choose, scope, domain.pk, chosen.directory.url, "shortlived")
        care = await bed.work(domain)
        assert (care.state, care.detail) == (CareState.GOOD, "")
        assert "POST /order-plz" not in first.log
        (certificate,) = await certificates()
        assert (certificate.directory, certificate.profile) == (chosen.directory.url, "shortlived")
        assert certificate.not_after - certificate.not_before < timedelta(days=6.1)
        # at another CA, while the chosen one is away, the name of the kind means nothing
        chosen.stop()
        assert care.renew_at is not None
        await bed.pass_time(care.renew_at - clock.now() + timedelta(minutes=1))
        await bed.work(domain)
    kinds = [(each.directory, each.profile) for each in await certificates()]
    assert kinds == [(chosen.directory.url, "shortlived"), (first.directory.url, "")]


async def test_caa_is_read_before_a_ca_is_asked(bed: Bed, domain: Domain, tmp_path: Path) -> None:
    bed.dns.set("example.test", "CAA", '0 issue "other.test"')
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory_with(caa_identities=("ca.test",))])
        care = await bed.work(domain)
        words = "example.test: the CAA records allow other.test, not ca.test"
        assert (care.state, care.detail) == (CareState.FORBIDDEN, words)
        problem = await in_store(lambda: Problem.objects.get(closed_at=None))
        assert (problem.code, problem.host) == ("certificate-forbidden", HOST)
        assert "POST /order-plz" not in pebble.log
        # the closest name that has records decides
        bed.dns.set(HOST, "CAA", '0 issue "ca.test"')
        assert (await bed.work(domain)).state == CareState.GOOD
        assert not await in_store(Problem.objects.filter(closed_at=None).exists)


async def test_when_the_name_leads_elsewhere_it_is_not_renewed(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        care = await bed.work(domain)
        assert care.renew_at is not None
        await bed.pass_time(care.renew_at - clock.now() + timedelta(minutes=1))
        bed.dns.remove(HOST, "A")
        care = await bed.work(domain)
        assert (care.state, care.detail) == (CareState.GONE, f"{HOST} has no address")
        assert len(await certificates()) == 1
        assert await in_store(lambda: Problem.objects.get(closed_at=None).code) == "certificate-not-renewed"
        bed.publish(domain)
        care = await bed.work(domain)
        assert care.state == CareState.GOOD
    assert len(await certificates()) == 2


async def test_a_certificate_of_six_days_is_renewed_in_time(bed: Bed, domain: Domain, tmp_path: Path) -> None:
    with pebble_for(bed, tmp_path / "pebble", certificateValidityPeriod=6 * 86_400) as pebble:
        await bed.start([pebble.directory])
        care = await bed.work(domain)
        assert care.renew_at is not None
        assert timedelta(days=3.5) < care.renew_at - clock.now() < timedelta(days=4.1)
        await bed.pass_time(timedelta(days=4.1))
        care = await bed.work(domain)
    assert len(await certificates()) == 2
    assert care.state == CareState.GOOD


async def test_the_ca_s_suggestion_is_followed(bed: Bed, domain: Domain, tmp_path: Path) -> None:
    with pebble_for(bed, tmp_path / "pebble", version="2.6") as pebble:
        await bed.start([pebble.directory])
        care = await bed.work(domain)
        assert (care.renew_why, care.state) == ("suggested", CareState.GOOD)
        assert care.ask_at is not None
        assert care.renew_at is not None
        await bed.pass_time(care.renew_at - clock.now() + timedelta(minutes=1))
        await bed.work(domain)
    first, second = await certificates()
    orders = await in_store(
        lambda: list(AcmeOrder.objects.order_by("placed_at").values_list("replaces", flat=True))
    )
    assert orders == ["", first.renewal_id]
    assert second.renewal_id != first.renewal_id


async def test_an_outage_of_days_at_the_first_ca_is_survived(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    """Six-day certificates: without the second CA the name would be without one on the sixth day."""
    life = 6 * 86_400
    first = pebble_for(bed, tmp_path / "first", certificateValidityPeriod=life).start()
    with pebble_for(bed, tmp_path / "second", certificateValidityPeriod=life) as second:
        await bed.start([first.directory, second.directory])
        care = await bed.work(domain)
        first.stop()
        for _ in range(20):
            await bed.pass_time(timedelta(hours=12))
            care = await bed.work(domain)
            assert care.current is not None
            assert care.current.not_before <= clock.now() < care.current.not_after
        directories = [each.directory for each in await certificates()]
    assert directories[0] == first.directory.url
    assert set(directories[1:]) == {second.directory.url}
    assert 2 <= len(directories) <= 4


async def test_an_order_that_was_begun_is_gone_on_with(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies after each step in turn; in the end there is one order and one certificate."""
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        for step in ("order", "authorization", "answer", "finalize", "certificate"):
            with monkeypatch.context() as patched:
                patched.setattr(AcmeClient, step, _die)
                await bed.work(domain)
        care = await bed.work(domain)
        assert care.state == CareState.GOOD
        assert pebble.log.count("POST /order-plz") == 1
    assert await in_store(AcmeOrder.objects.count) == 1
    assert len(await certificates()) == 1


async def test_a_ca_that_has_forgotten_us_is_told_of_us_again(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    """Pebble keeps accounts in memory alone."""
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        first = await bed.work(domain)
        assert first.renew_at is not None
        pebble.stop()
        pebble.start()
        await bed.pass_time(first.renew_at - clock.now() + timedelta(minutes=1))
        await bed.work(domain)
        await bed.pass_time(timedelta(minutes=2))
        assert (await bed.work(domain)).state == CareState.GOOD
    assert len(await certificates()) == 2


async def test_slow_validation_is_waited_for(bed: Bed, domain: Domain, tmp_path: Path) -> None:
    with pebble_for(bed, tmp_path / "pebble", sleep_seconds=3) as pebble:
        await bed.start([pebble.directory])
        assert (await bed.work(domain)).state == CareState.GOOD


@pytest.mark.parametrize("lie", ["another key", "another name", "ended", "no version", "too many"])
async def test_what_a_ca_gives_in_place_of_the_certificate_takes_no_good_one_s_place(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        await bed.work(domain)
        (first,) = await certificates()
        await bed.pass_time(timedelta(days=1500))  # of the five years that Pebble gives
        monkeypatch.setattr(AcmeClient, "certificate", lambda *_: _lie(lie))
        monkeypatch.setattr("mailward.worker.ordering.make_csr", lambda *_: CSR)
        care = await bed.work(domain)
    assert care.state == CareState.FAILING
    assert care.current == first
    assert "certificate" in care.detail
    assert await certificates() == [first]


KEY = ec.generate_private_key(ec.SECP256R1())
CSR = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(x509.Name([]))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    .sign(KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.DER)
)


def _lie(kind: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "another key" else KEY
    host = "mta-sts.other.test" if kind == "another name" else HOST
    ends = clock.now() + timedelta(days=-1 if kind == "ended" else 90)
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(clock.now() - timedelta(days=2))
        .not_valid_after(ends)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(KEY, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM).decode()
    if kind == "no version":  # v3 is 2
        der = built.public_bytes(serialization.Encoding.DER).replace(b"\xa0\3\2\1\2", b"\xa0\3\2\1\7", 1)
        pem = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(der).decode()}\n-----END CERTIFICATE-----\n"
    return pem * 30 if kind == "too many" else pem


async def test_who_asks_about_a_good_certificate_is_not_before_everybody_else_from_then_on(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        await bed.work(domain)
        await in_store(hasten, domain.pk)
        care = await bed.work(domain)
    assert care.state == CareState.GOOD
    assert care.due_at > clock.now()


async def test_what_a_wrong_clock_wrote_down_holds_nothing_up(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    pebble = pebble_for(bed, tmp_path / "pebble")
    await bed.start([pebble.directory])
    care = await bed.work(domain)
    assert care.state == CareState.AWAY
    # all of that was by a clock a year ahead
    await bed.pass_time(timedelta(days=-365))
    await in_store(lambda: OutboxItem.objects.update(available_at=clock.now() + timedelta(days=365)))
    with pebble:
        await in_store(put_due, 10)
        care = await bed.work_due(domain)
    assert care.state == CareState.GOOD
    assert clock.now() < care.due_at < clock.now() + timedelta(days=2)


async def test_an_order_that_is_proved_outlives_a_moment_s_outage(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Public CAs give the same name five certificates a week."""
    with pebble_for(bed, tmp_path / "pebble") as pebble:
        await bed.start([pebble.directory])
        with monkeypatch.context() as patched:
            patched.setattr(AcmeClient, "certificate", _be_away)
            care = await bed.work(domain)
        assert (care.state, care.detail) == (CareState.ORDERED, "away")
        assert care.due_at > clock.now()
        await bed.pass_time(timedelta(minutes=2))
        care = await bed.work(domain)
    assert care.state == CareState.GOOD
    assert pebble.log.count("POST /order-plz") == 1


def _be_away(*_: object) -> None:
    raise AcmeFault(Fault(AcmeScope.CA, "away"))


async def test_a_domain_whose_care_fails_is_in_nobody_s_way(
    bed: Bed, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bed.start([pebble_for(bed, tmp_path / "pebble").directory])
    monkeypatch.setattr("mailward.worker.certificates.look", _die)
    care = await bed.work(domain)
    assert care.due_at > clock.now()
    assert await in_store(OutboxItem.objects.filter(kind="certificate").exists)


def _die(*_arguments: object, **_options: object) -> None:
    raise RuntimeError("killed")


async def test_a_certificate_that_nobody_renews_is_urgent_in_its_last_days_and_told_again_when_it_has_ended(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    def open_codes() -> list[str]:
        return list(Problem.objects.filter(closed_at=None).order_by("id").values_list("code", flat=True))

    with pebble_for(bed, tmp_path / "ca", version="2.6", certificateValidityPeriod=90 * 86_400) as ca:
        await bed.start([ca.directory])
        care = await bed.work(domain)
        assert care.current is not None
        ca.stop()
        await bed.pass_time(timedelta(days=80))
        await bed.work(domain)
        assert await in_store(open_codes) == ["certificate-authorities-away"]
        await bed.pass_time(timedelta(days=4))
        await bed.work(domain)
        assert await in_store(open_codes) == ["certificate-authorities-away", "certificate-last-days"]
        told = " ".join((await in_store(alert, "certificate-last-days")).split())
        assert f"ends {care.current.not_after - timedelta(days=84):%Y-%m-%d}" in told, told
        await bed.pass_time(timedelta(days=6.5))
        await bed.work(domain)
        assert await in_store(open_codes) == ["certificate-authorities-away", "certificate-ended"]
        ca.start()
        for _ in range(2):  # it has forgotten our account
            await bed.pass_time(timedelta(hours=2))
            care = await bed.work(domain)
        assert care.state == CareState.GOOD, care.detail
    assert await in_store(open_codes) == []


async def test_the_end_is_looked_at_though_no_ca_is_asked_again_so_soon(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "ca", version="2.6", certificateValidityPeriod=90 * 86_400) as ca:
        await bed.start([ca.directory])
        care = await bed.work(domain)
    assert care.current is not None
    await bed.pass_time(timedelta(days=82.9))
    await in_store(wait, domain.pk, CareState.FAILING, clock.now() + timedelta(hours=12), "refused")
    care = await in_store(CertificateCare.objects.select_related("current").get)
    assert care.current is not None
    assert care.due_at == care.current.not_after - timedelta(days=7)


async def test_that_the_name_of_a_domain_that_has_left_leads_here_no_more_is_no_problem(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    with pebble_for(bed, tmp_path / "ca", version="2.6", certificateValidityPeriod=90 * 86_400) as ca:
        await bed.start([ca.directory])
        await bed.work(domain)
        await bed.publish_policy(domain)
        await in_store(leave, domain)
        bed.dns.remove(HOST, "A")
        await bed.pass_time(timedelta(days=65))
        assert (await bed.work(domain)).state == CareState.REACH
        await bed.pass_time(timedelta(days=30))
        assert (await bed.work(domain)).state == CareState.REACH
    assert not await in_store(Problem.objects.exists)
    assert await in_store(certificates_ending, clock.now()) == 0


def leave(domain: Domain) -> None:
    row = leaving.begin(domain.organisation_id, domain.pk, author_id=None)
    type(row).objects.update(ended_at=clock.now(), outcome="done")
    Domain.objects.filter(pk=domain.pk).update(current_version=None, announced_version=None)


async def test_a_name_need_not_wait_for_hours_once_its_silent_address_answers_or_is_gone(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    # a node that is dead, and a CA that happens to ask there
    theirs = FakeDns()
    theirs.set(HOST, "A", "127.0.0.9")
    bed.dns.set(HOST, "A", "127.0.0.1", "127.0.0.9")
    with (
        theirs.threaded(),
        Pebble(tmp_path / "pebble", dns=theirs.address, http_port=bed.http_port) as pebble,
    ):
        await bed.start([pebble.directory])
        for _ in range(4):
            care = await bed.work(domain)
            await bed.pass_time(timedelta(hours=5))
        assert care.detail.endswith("; 127.0.0.9 does not answer us either")
        assert (care.due_at - clock.now()) < timedelta(minutes=21)
        care = await bed.work(domain)
        for each in (theirs, bed.dns):
            each.set(HOST, "A", "127.0.0.1")
        await bed.pass_time(timedelta(minutes=10))
        care = await bed.work(domain)
        # what is silent from here may answer another node, and CAs count what fails
        assert (care.state, await in_store(AcmeOrder.objects.count)) == (CareState.FAILING, 5)
        await bed.pass_time(timedelta(minutes=11))
        care = await bed.work(domain)
        assert (care.state, await in_store(AcmeOrder.objects.count)) == (CareState.GOOD, 6)
        assert care.silent_address == ""


async def test_an_address_that_answers_us_has_a_name_wait_as_any_other(
    bed: Bed, domain: Domain, tmp_path: Path
) -> None:
    theirs = FakeDns()
    theirs.set(HOST, "A", "127.0.0.9")
    with (
        theirs.threaded(),
        Pebble(tmp_path / "pebble", dns=theirs.address, http_port=bed.http_port) as pebble,
    ):
        await bed.start([pebble.directory])
        care = await bed.work(domain)
    assert (care.state, care.silent_address) == (CareState.FAILING, "")
