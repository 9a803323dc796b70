"""Texts of strangers, as the database keeps them."""

import pytest
from django.db import connection

from mailward.net import clock
from mailward.store.models import Domain, Organisation, RecordCheck

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("text", ["a\0b", "\0\0", "\\u0000", "\\\\u0000", "\\\0", "é\\\\\0u0000", "\ufffd"])
def test_every_text_is_kept_but_for_nul_which_postgresql_refuses(text: str) -> None:
    kept = text.replace("\0", "\ufffd") if connection.vendor == "postgresql" else text
    organisation = Organisation.objects.create(name=text, report_token="0rganisation")
    organisation.refresh_from_db()
    assert organisation.name == kept
    domain = Domain.objects.create(
        organisation=organisation, name="example.test", report_token="r", claim_token="c"
    )
    check = RecordCheck.objects.create(
        organisation=organisation,
        domain=domain,
        record="claim",
        state="wrong",
        observed=[text, {"x": text}],
        checked_at=clock.now(),
    )
    check.refresh_from_db()
    assert check.observed == [kept, {"x": kept}]
