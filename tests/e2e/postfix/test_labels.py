"""What Postfix 3.10 reports through libtlsrpt: signals are labelled with the MTA-STS policy, and a testing policy
stops no mail at any level of the site's own.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.postfix.bed import Bed, Domain, policy, running_bed
from tests.e2e.postfix.site import Site

from mailward.lab.mta import DELIVERY_SECONDS

pytestmark = pytest.mark.timeout(600)

Label = tuple[int, int, tuple[int, ...]]
"""Of a datagram: policy-type, final result (0 is good), codes of failures."""

TLSA, STS, NO_POLICY = 1, 2, 9  # policy-type in libtlsrpt's datagrams
ENFORCE, TESTING = policy("enforce", "*.mx.test"), policy("testing", "valid.mx.test")


@dataclass(frozen=True)
class Case:
    domain: Domain
    labels: Sequence[Label]
    taken: str
    """The receiver and how, or nothing."""


def case(label: str, text: str, mx: str, site: str, labels: Sequence[Label], taken: str) -> Case:
    signed = "dane" in mx
    return Case(Domain(label, tuple(mx.split()), text, is_signed=signed, site=site), labels, taken)


GOOD = [(STS, 0, ())]
CASES = (
    case("testing-may", TESTING, "valid", "may", GOOD, "valid TLS"),
    case("testing-may-misnamed", TESTING, "misnamed", "may", GOOD, "misnamed TLS"),
    case("testing-may-expired", TESTING, "expired", "may", [(STS, 1, (204,))], "expired TLS"),
    case("testing-may-selfsigned", TESTING, "selfsigned", "may", [(STS, 1, (205,))], "selfsigned TLS"),
    case("testing-quiet-expired", TESTING, "expired", "quiet", GOOD, "expired TLS"),
    case("testing-may-plain", TESTING, "plain", "may", [], "plain plain"),
    case("testing-encrypt", TESTING, "valid", "encrypt", GOOD, "valid TLS"),
    case(
        "testing-encrypt-selfsigned", TESTING, "selfsigned", "encrypt", [(STS, 1, (205,))], "selfsigned TLS"
    ),
    case("testing-dane", TESTING, "valid", "dane", GOOD, "valid TLS"),
    case("testing-dane-expired", TESTING, "expired", "dane", [(STS, 1, (204,))], "expired TLS"),
    case("testing-dane-plain", TESTING, "plain", "dane", [], "plain plain"),
    # a host with TLSA records that the policy does not name: checked by DANE, not stopped by the patterns
    case("testing-dane-tlsa", TESTING, "dane plain", "dane", [(TLSA, 0, ())], "dane TLS"),
    case("testing-may-tlsa", TESTING, "dane plain", "may", [(TLSA, 0, ())], "dane TLS"),
    case("enforce", ENFORCE, "valid", "may", GOOD, "valid TLS"),
    case("enforce-dane", ENFORCE, "valid", "dane", GOOD, "valid TLS"),
    case("enforce-plain", ENFORCE, "plain", "may", [(STS, 1, (201,))], ""),
    case("enforce-misnamed", ENFORCE, "misnamed", "may", [(STS, 1, (202,))], ""),
    case("enforce-expired", ENFORCE, "expired", "may", [(STS, 1, (204,))], ""),
    case("full", "", "dane", "may", [(TLSA, 0, ())], "dane TLS"),
    case("nothing", "", "valid", "may", [(NO_POLICY, 0, ())], "valid TLS"),
)
# below `secure`, Postfix looks at a certificate only if its log is to tell of bad ones
UNTRUSTED = ("smtp_tls_loglevel=summary,untrusted",)
SITES = (
    Site("may", 8461, options_310=UNTRUSTED),
    Site("encrypt", 8462, "encrypt", options_310=UNTRUSTED),
    Site("dane", 8463, "dane", options_310=UNTRUSTED),
    Site("quiet", 8464),
)


class Collector:
    """Where Postfix sends its datagrams."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(0.2)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.datagrams: list[dict[str, Any]] = []  # JSON of libtlsrpt's
        self._thread.start()

    def of(self, domain: str) -> list[dict[str, Any]]:
        """The policies that its datagrams name."""
        return [datagram["policies"][0] for datagram in self.datagrams if datagram["d"] == domain]

    def wait_for(self, domain: str, count: int) -> list[dict[str, Any]]:
        """The same, once there are so many: Postfix's log can be ahead of our reading."""
        ends = time.monotonic() + DELIVERY_SECONDS
        while len(self.of(domain)) < count and time.monotonic() < ends:
            time.sleep(0.05)
        return self.of(domain)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._socket.close()

    def _read(self) -> None:
        while not self._ending.is_set():
            try:
                self.datagrams.append(json.loads(self._socket.recv(65_536)))
            except TimeoutError:
                continue


@dataclass
class Labels:
    bed: Bed
    collector: Collector


@pytest.fixture(scope="module")
def labels(root: None) -> Iterator[Labels]:
    with running_bed([item.domain for item in CASES], SITES) as bed:
        path = bed.senders["3.10"].home / "spool" / "tlsrpt.sock"
        collector = Collector(str(path))
        path.chmod(0o666)
        try:
            for item in CASES:
                bed.send(item.domain.label)
            bed.senders["3.10"].wait_for([bed.recipient(item.domain.label, "3.10") for item in CASES])
            yield Labels(bed, collector)
        finally:
            collector.close()


@pytest.mark.parametrize("item", CASES, ids=lambda item: item.domain.label)
def test_signals_are_labelled_with_what_protects_the_domain(labels: Labels, item: Case) -> None:
    assert labels.bed.taken(item.domain.label, "3.10") == (
        item.taken and item.taken.replace(" ", ".mx.test ", 1)
    )
    policies = labels.collector.wait_for(item.domain.name, len(item.labels))
    found = [
        (each["policy-type"], each["f"], tuple(detail["c"] for detail in each.get("failure-details", ())))
        for each in policies
    ]
    assert found == item.labels
    if item.labels and item.labels[0][0] == STS:
        lines = item.domain.policy.split("\r\n")[:-1]
        assert (policies[0]["policy-domain"], policies[0]["policy-string"]) == (item.domain.name, lines)
    assert item.taken or item.domain.policy == ENFORCE, "only an enforcing policy stops mail"


def test_a_testing_policy_stops_nothing_with_postfix_3_7_either(labels: Labels) -> None:
    for item in CASES:
        if item.domain.policy == TESTING:
            expected = item.taken.replace(" ", ".mx.test ", 1)
            assert labels.bed.taken(item.domain.label, "3.7") == expected
