"""Test reports are known by a number that only we and their mail know: the report-id."""

import secrets

from django.db import Error as DatabaseError

from mailward.ingest.accept import Draft
from mailward.ingest.errors import StoreBusy
from mailward.store.aio import in_store
from mailward.store.models import Domain

PREFIX = "mailward-test-"


def make_nonce() -> str:
    return PREFIX + secrets.token_hex(16)


async def find_test_domain(draft: Draft) -> int | None:
    """The domain whose test report this is; None for every other report. Raises StoreBusy."""
    domain_id = draft.arrival.address.domain_id
    if domain_id is None or not any(report_id.startswith(PREFIX) for report_id in draft.report_ids):
        return None
    try:
        # asked anew each time: an address may have been remembered before its test was asked for
        nonce = await in_store(_nonce_of, domain_id)
    except DatabaseError as error:
        raise StoreBusy(str(error)) from error
    return domain_id if nonce and nonce in draft.report_ids else None


def _nonce_of(domain_id: int) -> str | None:
    return Domain.objects.filter(pk=domain_id).values_list("test_report_nonce", flat=True).first()
