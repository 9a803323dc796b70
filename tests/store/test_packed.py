"""Large reports take little room, and come back as they were."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.arrivals import UNVERIFIED, VERIFIED, arrive
from tests.fakes.signer import report_json

from mailward.core.tlsrpt.limits import DEFAULT_LIMITS
from mailward.ingest.accept import Arrival, read_arrival
from mailward.ingest.addresses import address_of_domain
from mailward.net import clock
from mailward.store.models import DailyFailures, Domain, Door, Report, User
from mailward.store.packed import PLAIN_BYTES, pack, unpack
from mailward.store.queries.reports import find_report
from mailward.store.scope import scope_of

pytestmark = pytest.mark.django_db


@given(st.text(), st.sampled_from([1, PLAIN_BYTES]))
def test_what_was_packed_comes_back(text: str, times: int) -> None:
    content = json.dumps(text * times).encode()
    assert unpack(pack(content)) == content


def test_an_ordinary_report_stays_readable() -> None:
    content = json.dumps(report_json()).encode()
    assert pack(content) == content


def details() -> list[dict[str, Any]]:
    one = {"result-type": "validation-failure", "failed-session-count": 1}
    return [one | {"additional-information": "x" * 10_000}] * 1_000


def test_a_report_that_unpacks_to_ten_megabytes_is_kept_as_kilobytes(domain: Domain) -> None:
    body = gzip.compress(json.dumps(report_json(details=details())).encode())
    draft = read_arrival(Arrival(Door.HTTPS, address_of_domain(domain), body, clock.now()), DEFAULT_LIMITS)
    (report,) = draft.reports
    assert len(body) < 50_000
    assert len(report.parsed) + len(report.deviations) < 200_000


def test_it_is_read_and_counted_like_any_other(domain: Domain, alice_user: User) -> None:
    report_id = arrive(domain, UNVERIFIED, details=details())
    scope = scope_of(alice_user)
    assert scope
    detail = find_report(scope, report_id)
    assert detail
    assert len(detail.report.policies[0].failure_details) == 1_000
    arrive(domain, VERIFIED, details=details())
    assert Report.objects.get().counted
    assert DailyFailures.objects.get().sessions == 1_000
