"""What Postfix 3.10 does not report is counted all the same, and every session once: real mail, in bursts.

Datagrams, the log and our own look at MX hosts together; what each mail met is known from what was sent.
"""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.postfix.bed import Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site

from mailward.core import names
from mailward.core.postfix.smtplog import NotSent, read_line
from mailward.core.tlsrpt.schema import PolicyResult
from mailward.net import clock
from mailward.sender.counts import Counts

pytestmark = pytest.mark.timeout(600)

BURST = 12
WAIT_SECONDS = 90  # a bound for a busy machine
MX_MISMATCH = "validation-failure mtasts-policy-mx-mismatch"
SUCCESS = "success"


@dataclass(frozen=True)
class Case:
    domain: Domain
    expected: dict[str, int]
    """Sessions, by result type and reason; nothing: the domain is in no report."""
    messages: int = BURST


def case(
    label: str, mx: str, text: str, expected: str, site: str = "may", messages: int = BURST, nexthop: str = ""
) -> Case:
    found = {each: messages for each in expected.split(", ") if each}
    return Case(Domain(label, tuple(mx.split()), text, site=site, nexthop=nexthop), found, messages)


def in_testing(*hosts: str) -> str:
    return policy("testing", *(f"{host}.mx.test" for host in hosts))


CASES = (
    case("good", "valid", in_testing("valid"), SUCCESS),
    case("plain", "plain", in_testing("plain"), "starttls-not-supported"),
    case("misnamed", "misnamed", in_testing("misnamed"), "certificate-host-mismatch Hostname_mismatch"),
    case("expired", "expired", in_testing("expired"), "certificate-expired"),
    case("self", "selfsigned", in_testing("selfsigned"), "validation-failure self-signed_certificate"),
    # with smtp_tls_loglevel = 1, Postfix calls it a success
    case("quiet", "expired", in_testing("expired"), "certificate-expired certificate_has_expired", "quiet"),
    case("outside", "misnamed", in_testing("valid"), MX_MISMATCH),
    case("plainoutside", "plain", in_testing("valid"), MX_MISMATCH),
    case("enforced", "misnamed valid", policy("enforce", "valid.mx.test"), f"{MX_MISMATCH}, {SUCCESS}"),
    case("enforcedoutside", "misnamed", policy("enforce", "valid.mx.test"), MX_MISMATCH, messages=1),
    case("smart", "valid", in_testing("valid"), "", nexthop="[plain.mx.test]:25"),
    case("nothing", "plain", "", "starttls-not-supported"),
    case("nothingsmart", "valid", "", "", nexthop="[plain.mx.test]:25"),
)
# by a transport that keeps connections open: fewer sessions than mails
REUSED = (
    (Domain("reusedplain", ("plain",), in_testing("plain"), site="reuse"), "starttls-not-supported"),
    (Domain("reusedtls", ("valid",), in_testing("valid"), site="reuse"), SUCCESS),
    (
        Domain("reusedself", ("selfsigned",), in_testing("selfsigned"), site="reuse"),
        "validation-failure self-signed_certificate",
    ),
    (Domain("reusedoutside", ("misnamed",), in_testing("valid"), site="reuse"), MX_MISMATCH),
)
UNTRUSTED = "smtp_tls_loglevel=summary,untrusted"
SHARED = {"cache": '"{home}/policies.sqlite3"'}
SITES = (
    Site(
        "may",
        8461,
        settings=SHARED,
        tlsrpt={
            "socket": '"{home}/spool/tlsrpt.sock"',
            "counts": '"{home}/counts.sqlite3"',
            "log": '"{home}/mail.log"',
            "verify_mx": "true",
            "ehlo_name": '"probe.sender.test"',
        },
        options_310=(UNTRUSTED, "smtp_connection_cache_on_demand=no"),
    ),
    Site("quiet", 8462, settings=SHARED, options_310=("smtp_connection_cache_on_demand=no",)),
    Site("reuse", 8463, settings=SHARED, options_310=(UNTRUSTED, "smtp_tls_connection_reuse=yes")),
)


@dataclass
class Spots:
    bed: Bed

    def counted(self, domain: Domain) -> dict[str, int]:
        """Sessions, by what they were."""
        counts = Counts(self.bed.senders["3.10"].home / "counts.sqlite3")
        try:
            days = [counts.read_domain(day, names.Domain(domain.name)) for day in counts.days()]
        finally:
            counts.close()
        return dict(sum((_sessions(result) for day in days if day for result in day.results), Counter()))

    def wait_for(self, domain: Domain, expected: dict[str, int]) -> dict[str, int]:
        ends = time.monotonic() + WAIT_SECONDS
        while (found := self.counted(domain)) != expected and time.monotonic() < ends:
            time.sleep(0.2)
        return found

    def connections(self) -> int:
        """That the receivers have had, by their own log."""
        return self.bed.mailboxes.postfix.log().count("]: connect from ")


def _sessions(result: PolicyResult) -> Counter[str]:
    found: Counter[str] = Counter()
    for detail in result.failure_details:
        name = f"{detail.result_type} {detail.failure_reason_code or ''}".strip()
        found[name] += detail.failed_session_count or 0
    assert found.total() == result.summary.total_failure_session_count
    if successes := result.summary.total_successful_session_count:
        found[SUCCESS] = successes
    return found


@pytest.fixture(scope="module")
def spots(root: None) -> Iterator[Spots]:
    domains = [*(item.domain for item in CASES), *(domain for domain, _ in REUSED)]
    with running_bed(domains, SITES) as bed:
        postfix = bed.senders["3.10"]
        postfix.send(f"a@{CASES[0].domain.name}")  # now the log shows that it tells of TLS
        postfix.wait_for([f"a@{CASES[0].domain.name}"])
        for item in CASES:
            postfix.stream(f"b@{item.domain.name}", item.messages)
        for item in CASES:
            postfix.wait_for_count(f"to=<b@{item.domain.name}>", item.messages)
        yield Spots(bed)


@pytest.mark.parametrize("item", CASES, ids=lambda item: item.domain.label)
def test_every_session_is_counted_once_and_as_what_it_was(spots: Spots, item: Case) -> None:
    expected = dict(item.expected)
    if item is CASES[0]:
        expected[SUCCESS] += 1
    assert spots.wait_for(item.domain, expected) == expected


@pytest.mark.parametrize(("domain", "result"), REUSED, ids=lambda each: getattr(each, "label", None))
def test_a_connection_that_serves_several_mails_is_one_session(
    spots: Spots, domain: Domain, result: str
) -> None:
    postfix = spots.bed.senders["3.10"]
    before = spots.connections()
    postfix.stream(f"c@{domain.name}", 3 * BURST)
    postfix.wait_for_count(f"to=<c@{domain.name}>", 3 * BURST)
    sessions = spots.connections() - before
    assert 0 < sessions < 3 * BURST
    assert spots.wait_for(domain, {result: sessions}) == {result: sessions}


def wait_for_nobody(path: Path) -> None:
    """Until the last process has gone that holds the socket: children end a moment after their parent."""
    ends = time.monotonic() + WAIT_SECONDS
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        while time.monotonic() < ends:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                return
            time.sleep(0.1)
    raise AssertionError("the socket is still held")


def test_what_goes_out_while_the_collector_is_dead_is_counted_from_the_log(spots: Spots) -> None:
    domain, result = REUSED[0]
    before = spots.counted(domain).get(result, 0)
    site, postfix = spots.bed.sites["may"], spots.bed.senders["3.10"]
    site.kill()
    wait_for_nobody(postfix.home / "spool/tlsrpt.sock")
    recipients = [f"d{number}@{domain.name}" for number in range(3)]
    # with TLS: the signal finds nobody, and Postfix says so
    recipients.append(f"d@{REUSED[1][0].name}")
    for recipient in recipients:
        postfix.send(recipient)
    postfix.wait_for(recipients)
    lines = [line for line in postfix.log().splitlines() if "to=<d" in line and f"@{domain.name}>" in line]
    sessions = sum("conn_use=" not in line for line in lines)
    assert sessions > 0
    events = [read_line(line, clock.now().astimezone()) for line in postfix.log().splitlines()]
    assert any(entry is not None and isinstance(entry.event, NotSent) for entry in events)
    site.spawn(spots.bed.network)
    site.wait()
    assert spots.wait_for(domain, {result: before + sessions}) == {result: before + sessions}
    ends = time.monotonic() + WAIT_SECONDS
    while " signals-not-sent " not in site.log():
        assert time.monotonic() < ends, site.log()
        time.sleep(0.2)
