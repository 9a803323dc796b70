"""One report whatever the door, and who vouches for it."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.fakes.dns import FakeDns, Fault
from tests.fakes.signer import Signer, google_mail, report_json
from tests.ingest.conftest import ADDRESS, House, json_body, smtp

from mailward.config import Dns, Reports, Settings
from mailward.ingest.doors import open_doors
from mailward.ingest.verify_again import verify_again
from mailward.net import clock
from mailward.net.resolver import Resolver
from mailward.store.aio import in_store
from mailward.store.models import DailySessions, Domain, OutboxItem, PolicyVersion, Report
from mailward.store.services.whose import DOUBT

GOOGLE = Signer("google.test")
REPORT = report_json()
MAIL = google_mail(REPORT)
SIGNED = GOOGLE.sign(MAIL)
OURS = b"Authentication-Results: mx.reports.test; dkim=pass header.d=google.test\r\n"

pytestmark = pytest.mark.usefixtures("domain")


def trusts() -> set[tuple[str, bool]]:
    return set(Report.objects.values_list("trust", "counted"))


def sessions() -> list[tuple[str, int, int]]:
    return list(DailySessions.objects.values_list("reporter", "ok", "failed"))


async def test_mail_and_post_of_one_report_are_one_report(house: House) -> None:
    GOOGLE.publish(house.dns)
    assert await house.post(json_body(REPORT)) == 201
    assert await in_store(sessions) == []
    assert (await house.mail(SIGNED)).startswith("250")
    report = await in_store(Report.objects.get)
    assert (report.trust, report.copies, report.door) == ("verified", 2, "smtp")
    assert await house.post(json_body(REPORT)) == 200
    assert await in_store(sessions) == [("google.test", 100, 3)]


async def test_a_forged_early_report_under_the_same_id_does_not_suppress_the_real_one(house: House) -> None:
    GOOGLE.publish(house.dns)
    forged = google_mail(report_json(successful=0, failed=None))
    assert (await house.mail(forged)).startswith("250")
    assert (await house.mail(SIGNED)).startswith("250")
    assert await in_store(trusts) == {("unverified", False), ("verified", True)}
    assert await in_store(sessions) == [("google.test", 100, 3)]


async def test_a_report_about_somebody_else_stays_apart(house: House) -> None:
    GOOGLE.publish(house.dns)
    raw = GOOGLE.sign(google_mail(report_json("elsewhere.test"), report_domain="elsewhere.test"))
    assert (await house.mail(raw)).startswith("250")
    report = await in_store(Report.objects.get)
    assert (report.domain_id, report.domain_key, report.trust, report.counted) == (None, 0, "verified", False)


async def test_a_report_waits_for_dns_and_is_verified_later(house: House) -> None:
    GOOGLE.publish(house.dns)
    house.dns.fail(Fault.SERVFAIL)
    assert (await house.mail(SIGNED)).startswith("250")
    report = await in_store(Report.objects.get)
    assert (report.trust, report.dkim, report.counted) == ("pending", "temporary", False)
    assert await in_store(lambda: OutboxItem.objects.get(kind="verify").key) == str(report.pk)

    house.dns.heal()
    await verify_again(report.pk, resolver=Resolver([house.dns.address]))
    report = await in_store(Report.objects.get)
    assert (report.trust, report.dkim, report.signer, report.counted) == (
        "verified",
        "pass",
        "google.test",
        True,
    )
    assert await in_store(sessions) == [("google.test", 100, 3)]
    await verify_again(report.pk, resolver=Resolver([house.dns.address]))
    assert await in_store(sessions) == [("google.test", 100, 3)]


async def test_dns_that_never_answers_leaves_a_report_unverified_after_three_days(house: House) -> None:
    house.dns.fail(Fault.SERVFAIL)
    await house.mail(SIGNED)
    report = await in_store(Report.objects.get)
    resolver = Resolver([house.dns.address])
    for age, trust in ((timedelta(days=2, hours=23), "pending"), (timedelta(days=3, hours=1), "unverified")):
        with clock.frozen(report.received_at + age):
            await verify_again(report.pk, resolver=resolver)
        assert (await in_store(Report.objects.get)).trust == trust
    assert await in_store(sessions) == []


ABOUT_ATTACKER = report_json("mx.attacker.test", policy_type="tlsa", failed=5000)
UNSIGNED_HEADER = b"TLS-Report-Domain: example.test\r\n"


def dane_mail(recipient: str) -> bytes:
    """A report with `tlsa` entries only, from a sender that does not sign TLS-Report-Domain."""
    mail = google_mail(ABOUT_ATTACKER, recipient=recipient)
    return GOOGLE.sign(mail.replace(UNSIGNED_HEADER, b""))


@pytest.mark.parametrize(
    "raw",
    [
        dane_mail("tls@attacker.test"),
        UNSIGNED_HEADER + dane_mail("tls@attacker.test"),
        UNSIGNED_HEADER + dane_mail(f"tls@attacker.test, {ADDRESS}"),
        OURS + UNSIGNED_HEADER + dane_mail("tls@attacker.test"),
        GOOGLE.sign(
            google_mail(
                ABOUT_ATTACKER
                | {
                    "policies": [
                        {"policy": {"policy-type": "sts"}, "summary": {"total-failure-session-count": 5}}
                    ]
                },
                recipient="tls@attacker.test",
            ).replace(UNSIGNED_HEADER, b"")
        ),
    ],
    ids=["without the header", "with one added", "to two addresses", "through a relay", "no name at all"],
)
async def test_a_genuine_report_about_another_domain_that_is_sent_on_is_not_counted(
    house: House, raw: bytes
) -> None:
    GOOGLE.publish(house.dns)
    assert (await house.mail(raw)).startswith("250")
    report = await in_store(lambda: Report.objects.select_related("domain").get())
    assert (report.domain and report.domain.name, report.trust, report.counted) == (
        "example.test",
        "verified",
        False,
    )
    assert report.dkim_detail.startswith(DOUBT)
    assert await in_store(sessions) == []


@pytest.mark.parametrize(
    "raw",
    [GOOGLE.sign(google_mail(ABOUT_ATTACKER, recipient="tls@attacker.test")), dane_mail(f"TLS <{ADDRESS}>")],
    ids=["TLS-Report-Domain is signed", "To is signed"],
)
async def test_a_report_about_mx_hosts_counts_where_the_signature_says_whose_it_is(
    house: House, raw: bytes
) -> None:
    GOOGLE.publish(house.dns)
    assert (await house.mail(raw)).startswith("250")
    assert await in_store(sessions) == [("google.test", 100, 5000)]


async def test_so_does_one_about_the_mx_hosts_of_the_domain_and_it_takes_the_place_of_a_doubtful_one(
    house: House, domain: Domain
) -> None:
    GOOGLE.publish(house.dns)
    raw = dane_mail("tls@attacker.test")
    assert (await house.mail(raw)).startswith("250")
    assert await in_store(sessions) == []
    await in_store(serve_policy, domain, ["*.attacker.test"])
    assert (await house.mail(raw)).startswith("250")
    assert await in_store(sessions) == [("google.test", 100, 5000)]
    assert (await in_store(Report.objects.get)).copies == 2


async def test_one_that_waited_for_dns_is_weighed_alike(house: House, domain: Domain) -> None:
    GOOGLE.publish(house.dns)
    house.dns.fail(Fault.SERVFAIL)
    assert (await house.mail(dane_mail("tls@attacker.test"))).startswith("250")
    house.dns.heal()
    report = await in_store(Report.objects.get)
    await verify_again(report.pk, resolver=Resolver([house.dns.address]))
    report = await in_store(Report.objects.get)
    assert (report.trust, report.counted, report.dkim_detail[: len(DOUBT)]) == ("verified", False, DOUBT)


def serve_policy(domain: Domain, mx: list[str]) -> None:
    version = PolicyVersion.objects.create(
        organisation_id=domain.organisation_id,
        domain=domain,
        number=1,
        policy_id="1",
        mode="enforce",
        max_age_seconds=86400,
        mx=mx,
        text="",
    )
    Domain.objects.filter(pk=domain.pk).update(current_version=version)


@pytest.mark.parametrize(
    "raw, relays, trust",
    [
        (OURS + MAIL, ("127.0.0.0/8",), "vouched-relay"),
        (OURS + MAIL, ("192.0.2.0/24",), "unverified"),  # from somebody who is not our relay
        (b"Authentication-Results: evil.test; none\r\n" + OURS + MAIL, ("127.0.0.0/8",), "unverified"),
        (OURS.replace(b"mx.reports", b"evil") + MAIL, ("127.0.0.0/8",), "unverified"),
        (OURS.replace(b"d=google", b"d=evil") + MAIL, ("127.0.0.0/8",), "unverified"),
        (MAIL, ("127.0.0.0/8",), "unverified"),
        (MAIL.replace(b"\r\n\r\n", b"\r\n\r\n" + OURS + b"\r\n", 1), ("127.0.0.0/8",), "unverified"),
        (OURS + GOOGLE.sign(MAIL, extra_tags="l=1; "), ("127.0.0.0/8",), "failed"),
        (OURS + Signer("google.test", selector="old").sign(MAIL), ("127.0.0.0/8",), "vouched-relay"),
    ],
    ids=[
        "ours",
        "not from our relay",
        "not on top",
        "not our name",
        "not aligned",
        "our relay said nothing",
        "in the body",
        "only a part is signed",
        "a signature that cannot be checked any more",
    ],
)
async def test_a_relay_of_ours_vouches(
    transactional_db: None, tmp_path: Path, raw: bytes, relays: tuple[str, ...], trust: str
) -> None:
    reports = Reports(authserv_ids=("mx.reports.test",), relays=relays)
    settings = Settings(data=str(tmp_path), reports=reports, dns=Dns())
    async with (
        FakeDns() as dns,
        open_doors(settings, resolver=Resolver([dns.address])) as doors,
        smtp(doors.smtp_port) as client,
    ):
        assert (await client.send(raw, ADDRESS)).startswith("250")
    report = await in_store(Report.objects.get)
    assert (report.trust, report.counted) == (trust, trust == "vouched-relay")


async def test_an_address_that_was_removed_takes_nothing_more(house: House, domain: Domain) -> None:
    assert (await house.mail(MAIL)).startswith("250")  # the address is remembered now
    await in_store(domain.delete)
    reply = await house.mail(google_mail(report_json(report_id="later")))
    # nothing is kept for nobody, and the next try is told that there is no such address
    assert reply.startswith(("451", "550"))
    assert await in_store(Report.objects.count) == 0
