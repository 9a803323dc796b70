"""What a person brings, what quarantine gives back, and the test report."""

import io
import zipfile
from pathlib import Path
from unittest.mock import patch

import pytest
from pytest_django import Settings as DjangoSettings
from tests.fakes.dns import FakeDns
from tests.fakes.signer import Signer, google_mail, report_json
from tests.ingest.conftest import ADDRESS, House, json_body, smtp

from mailward.config import Reports, Settings
from mailward.core.tlsrpt.errors import Unreadable
from mailward.ingest.addresses import address_of_domain, address_of_token
from mailward.ingest.channels.upload import accept_upload
from mailward.ingest.doors import open_doors
from mailward.ingest.reread import reread
from mailward.ingest.test_report import send_test_report
from mailward.net.resolver import Resolver
from mailward.store.aio import in_store
from mailward.store.models import (
    DailySessions,
    Domain,
    Organisation,
    QuarantinedMessage,
    RawMessage,
    Report,
    User,
)

GOOGLE = Signer("google.test")


@pytest.mark.django_db
def test_an_upload_is_vouched_for_by_the_person(domain: Domain, alice_user: User) -> None:
    stored = accept_upload(
        address_of_domain(domain), "r.json", json_body(report_json()), user_id=alice_user.pk
    )
    report = Report.objects.select_related("raw").get(pk=stored.report_ids[0])
    assert (report.trust, report.imported_by, report.door, report.counted) == (
        "vouched-person",
        alice_user,
        "upload",
        True,
    )
    assert report.raw.name == "r.json"


@pytest.mark.django_db
def test_a_token_leads_to_its_domain_or_organisation(domain: Domain, organisation: Organisation) -> None:
    of_domain, of_organisation = address_of_token("dom-example"), address_of_token("org-example")
    assert of_domain is not None
    assert of_organisation is not None
    assert (of_domain.domain_id, of_domain.owned) == (domain.pk, {"example.test": domain.pk})
    assert (of_organisation.domain_id, of_organisation.owned) == (None, {"example.test": domain.pk})
    assert address_of_token("nobody") is None


async def test_what_an_older_version_could_not_read_leaves_quarantine(house: House, domain: Domain) -> None:
    GOOGLE.publish(house.dns)
    # a version whose reader knows less
    with patch("mailward.ingest.accept.read_mail", side_effect=Unreadable("no-report", "Too old.")):
        await house.mail(GOOGLE.sign(google_mail(report_json())))
    kept = await in_store(QuarantinedMessage.objects.get)
    assert (kept.reason, kept.address_domain_id) == ("no-report", domain.pk)

    stored = await reread(kept.pk, resolver=Resolver([house.dns.address]))
    assert stored.new == 1
    report = await in_store(Report.objects.get)
    assert (report.trust, report.domain_id, report.received_at) == ("verified", domain.pk, kept.received_at)
    assert await in_store(QuarantinedMessage.objects.count) == 0


@pytest.mark.parametrize(
    "relays, trust", [(("127.0.0.0/8",), "vouched-relay"), (("192.0.2.0/24",), "unverified")]
)
async def test_the_word_of_a_relay_of_ours_holds_in_quarantine(
    transactional_db: None,
    domain: Domain,
    tmp_path: Path,
    settings: DjangoSettings,
    relays: tuple[str, ...],
    trust: str,
) -> None:
    """That of somebody who has only written such a field does not."""
    reports = Reports(authserv_ids=("mx.reports.test",), relays=relays)
    settings.MAILWARD = Settings(data=str(tmp_path), reports=reports)
    vouched = b"Authentication-Results: mx.reports.test; dkim=pass header.d=google.test\r\n"
    async with FakeDns() as dns:
        resolver = Resolver([dns.address])
        with patch("mailward.ingest.accept.read_mail", side_effect=Unreadable("no-report", "Too old.")):
            async with open_doors(settings.MAILWARD, resolver=resolver) as doors, smtp(doors.smtp_port) as by:
                assert (await by.send(vouched + google_mail(report_json()), ADDRESS)).startswith("250")
        kept = await in_store(QuarantinedMessage.objects.get)
        assert (await reread(kept.pk, resolver=resolver)).new == 1
    report = await in_store(Report.objects.get)
    assert (report.trust, report.counted) == (trust, trust == "vouched-relay")


def two_reports(second: bytes) -> bytes:
    """A mail with a report, and with `second` in another part of that type."""
    end = b"\r\n--0000000000007877ce062148fba9"
    part = end + b"\r\nContent-Type: application/tlsrpt+json\r\n\r\n" + second
    return google_mail(report_json()).replace(end + b"--", part + end + b"--")


async def test_a_part_that_cannot_be_read_is_kept_beside_the_report_that_can(
    house: House, domain: Domain
) -> None:
    assert (await house.mail(two_reports(b'{"policies":'))).startswith("250")
    report, kept = await in_store(Report.objects.get), await in_store(QuarantinedMessage.objects.get)
    assert (kept.reason, kept.raw_id, kept.address_domain_id) == ("json-truncated", report.raw_id, domain.pk)
    assert kept.detail.startswith("part[2], beside what was read: ")

    # as if this version could read it
    whole = two_reports(json_body(report_json(report_id="second")))
    await in_store(lambda: RawMessage.objects.filter(pk=kept.raw_id).update(content=whole))
    assert (await reread(kept.pk)).new == 1
    copies = await in_store(lambda: dict(Report.objects.values_list("report_id", "copies")))
    assert copies == {"2026-11-23T00:00:00Z_example.test": 1, "second": 1}
    assert await in_store(QuarantinedMessage.objects.count) == 0


async def test_what_is_read_of_it_later_leaves_the_rest_there(house: House, domain: Domain) -> None:
    await house.mail(b"Subject: nothing\r\n\r\nin it\r\n")
    kept = await in_store(QuarantinedMessage.objects.get)
    partly = two_reports(b'{"policies":')
    await in_store(lambda: RawMessage.objects.filter(pk=kept.raw_id).update(content=partly))
    stored = await reread(kept.pk)
    assert (stored.new, stored.quarantine_id) == (1, kept.pk)
    assert (await in_store(QuarantinedMessage.objects.get)).reason == "json-truncated"


async def test_a_post_of_which_a_part_cannot_be_read_is_taken(house: House, domain: Domain) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("1.json", json_body(report_json()))
        archive.writestr("2.json", b'{"policies":')
    assert await house.post(held.getvalue(), media_type="application/tlsrpt+gzip") == 201
    assert await in_store(QuarantinedMessage.objects.count) == 1


async def test_what_still_cannot_be_read_stays_and_says_when_it_was_tried(
    house: House, domain: Domain
) -> None:
    await house.mail(b"Subject: nothing\r\n\r\nin it\r\n")
    kept = await in_store(QuarantinedMessage.objects.get)
    stored = await reread(kept.pk)
    assert stored.quarantine_id == kept.pk
    assert (await in_store(QuarantinedMessage.objects.get)).read_again_at is not None


async def test_a_test_report_takes_the_real_way_and_is_not_counted(house: House, domain: Domain) -> None:
    settings = Settings(data=house.settings.data, reports=Reports(smtp_port=house.doors.smtp_port))
    trouble = await send_test_report(domain.pk, settings=settings, resolver=Resolver([house.dns.address]))
    assert trouble == ""
    report = await in_store(Report.objects.get)
    assert (report.trust, report.counted, report.domain_id) == ("test", False, domain.pk)
    fresh = await in_store(Domain.objects.get)
    assert fresh.test_report_arrived_at is not None
    assert fresh.test_report_sent_at is not None
    assert fresh.test_report_arrived_at >= fresh.test_report_sent_at
    assert await in_store(DailySessions.objects.count) == 0


async def test_somebody_elses_number_makes_no_test_report(house: House, domain: Domain) -> None:
    await house.mail(google_mail(report_json(report_id="mailward-test-0123456789abcdef")))
    assert (await in_store(Report.objects.get)).trust == "unverified"
    assert (await in_store(Domain.objects.get)).test_report_arrived_at is None


async def test_a_test_report_that_nobody_takes_says_why(house: House, domain: Domain) -> None:
    closed = Settings(data=house.settings.data, reports=Reports(smtp_port=1))
    resolver = Resolver([house.dns.address])
    assert "cannot be used" in await send_test_report(domain.pk, settings=closed, resolver=resolver)
    other = Settings(
        data=house.settings.data,
        reports=Reports(domain="other.localhost", smtp_port=house.doors.smtp_port),
    )
    assert "550" in await send_test_report(domain.pk, settings=other, resolver=resolver)
