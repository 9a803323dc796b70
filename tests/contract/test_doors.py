"""Whatever the door: what is read is stored with its bytes, what is not is kept, and twice is once.

A new door is one more driver here; the first test fails until it has one.
"""

from collections.abc import Awaitable, Callable

import pytest
from tests.fakes.signer import google_mail, report_json
from tests.ingest.conftest import House, house, json_body, settings_of_doors

from mailward.core.tlsrpt.limits import Limits
from mailward.ingest.accept import Arrival, accept_now
from mailward.ingest.addresses import address_of_domain
from mailward.ingest.channels.upload import accept_upload
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import Domain, Door, QuarantinedMessage, RawMessage, Report, User

__all__ = ["house", "settings_of_doors"]  # fixtures

Driver = Callable[[House, Domain, bytes], Awaitable[object]]


async def by_smtp(house: House, domain: Domain, content: bytes) -> object:
    return await house.mail(content, f"{domain.report_token}@reports.localhost")


async def by_https(house: House, domain: Domain, content: bytes) -> object:
    return await house.post(content, domain.report_token)


async def by_upload(house: House, domain: Domain, content: bytes) -> object:
    def upload() -> object:
        user = User.objects.get_or_create(email="alice@example.test")[0]
        return accept_upload(address_of_domain(domain), "report.json", content, user_id=user.pk)

    return await in_store(upload)


async def by_import(house: House, domain: Domain, content: bytes) -> object:
    arrival = Arrival(Door.IMPORT, address_of_domain(domain), content, clock.now(), "report.json")
    return await in_store(accept_now, arrival, Limits())


DRIVERS: dict[Door, Driver] = {
    Door.SMTP: by_smtp,
    Door.HTTPS: by_https,
    Door.UPLOAD: by_upload,
    Door.IMPORT: by_import,
}
COUNTED = {Door.UPLOAD, Door.IMPORT}
HOSTILE = (
    b"\0",
    b"{" * 5_000,
    b"[" * 100_000,
    b'{"policies": ' + b"9" * 5_000 + b"}",
    b"\x1f\x8b\x08\0\0\0\0\0\0\xff",
    b"PK\x03\x04" + b"\0" * 200,
    b"From: a\r\n" * 1_000,
    b"Content-Type: multipart/report; boundary=x\r\n\r\n" + b"--x\r\n" * 5_000,
    bytes(range(256)) * 50,
)

each_door = pytest.mark.parametrize("door", list(Door))


def content_for(door: Door, report_id: str = "1") -> bytes:
    report = report_json(report_id=report_id)
    return google_mail(report) if door is Door.SMTP else json_body(report)


def test_every_door_has_a_driver() -> None:
    assert set(DRIVERS) == set(Door)


@each_door
async def test_a_report_is_stored_with_its_bytes(house: House, domain: Domain, door: Door) -> None:
    await DRIVERS[door](house, domain, content_for(door))
    report = await in_store(Report.objects.select_related("raw").get)
    assert (report.domain_id, report.address_domain_id, report.door) == (domain.pk, domain.pk, door)
    assert bytes(report.raw.content) == content_for(door)
    assert report.counted is (door in COUNTED)


@each_door
async def test_twice_is_once(house: House, domain: Domain, door: Door) -> None:
    for _ in range(2):
        await DRIVERS[door](house, domain, content_for(door))
    report = await in_store(Report.objects.get)
    assert report.copies == 2
    assert await in_store(RawMessage.objects.count) == 1


@each_door
async def test_what_cannot_be_read_is_kept_with_its_bytes(house: House, domain: Domain, door: Door) -> None:
    await DRIVERS[door](house, domain, b"Subject: no report\r\n\r\nreally not\r\n")
    kept = await in_store(QuarantinedMessage.objects.select_related("raw").get)
    assert (kept.organisation_id, kept.address_domain_id) == (domain.organisation_id, domain.pk)
    assert bytes(kept.raw.content) == b"Subject: no report\r\n\r\nreally not\r\n"


@each_door
async def test_hostile_bytes_leave_the_door_open(house: House, domain: Domain, door: Door) -> None:
    for content in HOSTILE:
        end = b"\r\n" if door is Door.SMTP else b""
        await DRIVERS[door](house, domain, content + end)
    kept = await in_store(lambda: list(QuarantinedMessage.objects.values_list("reason", flat=True)))
    assert "reader-failed" not in kept
    await DRIVERS[door](house, domain, content_for(door))
    assert await in_store(Report.objects.count) >= 1
