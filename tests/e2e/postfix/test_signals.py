"""What a real Postfix 3.10 reports of its TLS sessions, and what of it `mailward sender run` counts."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.postfix.bed import Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site

from mailward.core.names import parse_domain
from mailward.core.tlsrpt.counting import DomainDay
from mailward.net import clock
from mailward.sender.counts import Counts, CountsError

pytestmark = pytest.mark.timeout(600)

WAIT_SECONDS = 90  # a bound for a busy machine
ENFORCE = policy("enforce", "*.mx.test")
Sums = dict[str, tuple[int, int, tuple[str, ...]]]
"""Policy type: sessions that went well, that failed, and the types of failures."""


@dataclass(frozen=True)
class Case:
    domain: Domain
    expected: Sums


def case(label: str, mx: str, text: str, expected: Sums, *, web: str = "good") -> Case:
    return Case(Domain(label, (mx,), text, web=web, is_signed=mx.startswith("dane")), expected)


def failed(result_type: str, policy_type: str = "sts") -> Sums:
    return {policy_type: (0, 1, (result_type,))}


CASES = (
    case("good", "valid", ENFORCE, {"sts": (1, 0, ())}),
    case("plain", "plain", ENFORCE, failed("starttls-not-supported")),
    case("misnamed", "misnamed", ENFORCE, failed("certificate-host-mismatch")),
    case("expired", "expired", ENFORCE, failed("certificate-expired")),
    case("selfsigned", "selfsigned", ENFORCE, failed("validation-failure")),
    case("dane", "dane", "", {"tlsa": (1, 0, ())}),
    case("nothing", "valid", "", {"no-policy-found": (1, 0, ())}),
    # the mail goes, since nothing was learned before; why there was no policy is told beside its session
    case("lapsed", "valid", ENFORCE, {"no-policy-found": (1, 0, ("sts-webpki-invalid",))}, web="self-signed"),
)
TLSRPT = {"socket": '"{home}/spool/tlsrpt.sock"', "counts": '"{home}/counts.sqlite3"'}
SITES = (Site("may", 8461, tlsrpt=TLSRPT),)


@pytest.fixture(scope="module")
def bed(root: None) -> Iterator[Bed]:
    with running_bed([item.domain for item in CASES], SITES) as bed:
        postfix = bed.senders["3.10"]
        for item in CASES:
            postfix.send(bed.recipient(item.domain.label, "3.10"))
        postfix.wait_for([bed.recipient(item.domain.label, "3.10") for item in CASES])
        yield bed


def read(path: Path, name: str) -> DomainDay | None:
    try:
        counts = Counts(path)
    except CountsError:
        return None
    found = counts.read_domain(clock.today(), parse_domain(name))
    counts.close()
    return found


def sums(found: DomainDay | None) -> Sums:
    return {
        str(each.policy.policy_type): (
            each.summary.total_successful_session_count or 0,
            each.summary.total_failure_session_count or 0,
            _types([detail.result_type for detail in each.failure_details]),
        )
        for each in (found.results if found else ())
    }


def _types(found: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(str(each) for each in found)


@pytest.mark.parametrize("item", CASES, ids=lambda item: item.domain.label)
def test_what_each_session_met_is_counted(bed: Bed, item: Case) -> None:
    path = bed.senders["3.10"].home / "counts.sqlite3"
    ends = time.monotonic() + WAIT_SECONDS
    while sums(found := read(path, item.domain.name)) != item.expected and time.monotonic() < ends:
        time.sleep(0.1)
    assert sums(found) == item.expected
    assert found is not None
    assert found.record == f"v=TLSRPTv1; rua=mailto:tls@{item.domain.name}"


def test_no_signal_was_lost(bed: Bed) -> None:
    assert "Could not report TLS handshake result" not in bed.senders["3.10"].log()
