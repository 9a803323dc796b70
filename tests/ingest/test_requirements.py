"""What RFC 8460 asks of whoever takes in reports, at the doors; named by the ids of docs/rfc/rfc8460.md."""

import gzip

import pytest
from tests.fakes.signer import Signer, google_mail, report_json
from tests.ingest.conftest import House, json_body

from mailward.store.aio import in_store
from mailward.store.models import Domain, Report

pytestmark = pytest.mark.usefixtures("domain")

BODY = json_body(report_json())
GOOGLE = Signer("google.test")


async def test_r1_only_a_mail_with_a_valid_signature_counts(house: House) -> None:
    GOOGLE.publish(house.dns)
    unsigned = google_mail(report_json(report_id="unsigned"))
    changed = GOOGLE.sign(google_mail(report_json(report_id="changed"))).replace(b"aggregate", b"Aggregate")
    for raw in (unsigned, changed, GOOGLE.sign(google_mail(report_json(report_id="signed")))):
        assert (await house.mail(raw)).startswith("250")
    kept = dict(await in_store(lambda: list(Report.objects.values_list("report_id", "counted"))))
    assert kept == {"unsigned": False, "changed": False, "signed": True}


async def test_r2_every_answer_of_success_is_2xx_and_comes_after_the_report_is_stored(house: House) -> None:
    for media_type, body in (
        ("application/tlsrpt+gzip", gzip.compress(BODY)),
        ("application/tlsrpt+json", BODY),
    ):
        assert await house.post(body, media_type=media_type) in (200, 201)
        assert await in_store(Report.objects.count) == 1


@pytest.mark.parametrize("media_type", ["application/tlsrpt+gzip", "application/tlsrpt+json"])
async def test_g15_a_post_has_the_media_type_of_the_mail_part(house: House, media_type: str) -> None:
    body = gzip.compress(BODY) if media_type.endswith("gzip") else BODY
    assert await house.post(body, media_type=media_type) == 201
    assert await house.post(body, media_type="application/octet-stream") == 415


async def test_r4_a_report_that_comes_again_is_one_report(house: House, domain: Domain) -> None:
    GOOGLE.publish(house.dns)
    raw = GOOGLE.sign(google_mail(report_json()))
    for _ in range(3):
        await house.mail(raw)
    stored = await in_store(lambda: list(Report.objects.values_list("domain_id", "copies")))
    assert stored == [(domain.pk, 3)]
