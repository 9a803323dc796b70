"""Which problems wait for others of their kind before people are told, and which do not."""

import pytest

from mailward.config import Problems
from mailward.core.check.codes import Code
from mailward.net import clock
from mailward.store.models import Domain, OutboxItem
from mailward.store.services.findings import Cause, open_cause


@pytest.mark.parametrize("code, at_once", [(Code.MX_NOT_IN_POLICY, True), (Code.CERTIFICATE_EXPIRED, False)])
def test_a_new_mx_host_outside_the_policy_is_told_at_once(domain: Domain, code: Code, at_once: bool) -> None:
    open_cause(Cause(domain.organisation_id, domain.pk, code.value, "mx2.example.test"), Problems())
    item = OutboxItem.objects.get(kind="notify")
    assert (item.available_at <= clock.now()) is at_once
