"""The HTTPS door (RFC 8460 section 5.4): R2, status codes, and that a token proves nothing."""

import gzip

import pytest
from tests.fakes.signer import report_json
from tests.ingest.conftest import TOKEN, House, json_body, request

from mailward.store.aio import in_store
from mailward.store.models import Domain, QuarantinedMessage, Report

pytestmark = pytest.mark.usefixtures("domain")

BODY = json_body(report_json())
GZIP = "application/tlsrpt+gzip"


async def test_r2_a_new_report_is_201_and_a_known_one_200(house: House, domain: Domain) -> None:
    assert await house.post(BODY) == 201
    assert await house.post(gzip.compress(BODY), media_type=GZIP) == 200
    report = await in_store(Report.objects.get)
    assert (report.domain_id, report.copies, report.door) == (domain.pk, 2, "https")


async def test_what_came_by_https_is_unverified_and_not_counted(house: House) -> None:
    await house.post(BODY)
    report = await in_store(Report.objects.get)
    assert (report.trust, report.dkim, report.counted) == ("unverified", "", False)


async def test_the_organisations_token_works_too(house: House, domain: Domain) -> None:
    assert await house.post(BODY, token="org-example") == 201
    assert (await in_store(Report.objects.get)).domain_id == domain.pk


@pytest.mark.parametrize("body", [b"{", b"no json", b"\x1f\x8bbroken", b"{}"])
async def test_what_cannot_be_read_is_400_and_kept(house: House, body: bytes) -> None:
    assert await house.post(body) == 400
    assert await in_store(QuarantinedMessage.objects.count) == 1


@pytest.mark.parametrize(
    "method, path, headers, status",
    [
        ("POST", "/v1/tlsrpt/unknown", {}, 404),
        ("POST", "/v1/tlsrpt/", {}, 404),
        ("POST", f"/v1/tlsrpt/{TOKEN}/more", {}, 404),
        ("POST", "/", {}, 404),
        ("GET", f"/v1/tlsrpt/{TOKEN}", {}, 405),
        ("PUT", f"/v1/tlsrpt/{TOKEN}", {}, 405),
        ("POST", f"/v1/tlsrpt/{TOKEN}", {"Content-Type": "application/json"}, 415),
        ("POST", f"/v1/tlsrpt/{TOKEN}", {"Content-Type": ""}, 415),
        ("POST", f"/v1/tlsrpt/{TOKEN}", {"Content-Encoding": "br"}, 415),
        ("POST", f"/v1/tlsrpt/{TOKEN}", {"Content-Length": "9999999"}, 413),
    ],
)
async def test_other_requests_are_refused(
    house: House, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    usual = {"Content-Type": "application/tlsrpt+json; charset=utf-8"}
    answer = await request(house.doors.https_port, method, path, BODY, usual | headers)
    assert answer.status == status
    assert await in_store(Report.objects.count) == 0


async def test_an_empty_body_is_refused(house: House) -> None:
    assert await house.post(b"") == 400
    headers = {"Content-Type": GZIP, "Content-Length": ""}
    answer = await request(house.doors.https_port, "POST", f"/v1/tlsrpt/{TOKEN}", b"", headers)
    assert answer.status == 411
