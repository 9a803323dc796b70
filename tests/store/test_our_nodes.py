"""A node of ours that is away is one thing, told to who runs it; not a problem of each of ten thousand domains."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.core.check import made
from tests.fakes.looks import look_at

from mailward.config import PolicyHost, Settings
from mailward.core.check.facts import Fetch
from mailward.net import clock
from mailward.store.models import Check, Domain, Problem
from mailward.store.queries.checks import report_of
from mailward.store.services import watching

pytestmark = pytest.mark.django_db
SERVES = made.policy_host().fetches[0]
OURS = (f"{SERVES.address}:443", "192.0.2.81:443", "192.0.2.82:443")


@pytest.mark.parametrize(
    ("nodes", "away", "opens"),
    [
        (OURS, ("192.0.2.81",), False),
        (OURS, ("192.0.2.81", "192.0.2.82"), False),
        (OURS, ("192.0.2.81", "198.51.100.1"), True),
        (OURS[:1], ("192.0.2.81",), True),
        ((), ("192.0.2.81",), True),
    ],
    ids=[
        "ours",
        "two of ours",
        "ours and another's",
        "another's",
        "nodes are not named: nobody knocks there",
    ],
)
def test_an_address_that_is_away_is_their_problem_unless_it_is_a_node_of_ours(
    domain: Domain, nodes: tuple[str, ...], away: tuple[str, ...], opens: bool
) -> None:
    settings = Settings(policy_host=PolicyHost(nodes=nodes))
    fetches = [Fetch(address, "connect", "connection refused") for address in away]
    broken = made.facts(policy_host=made.policy_host(SERVES, *fetches))
    now = clock.now()
    for minutes, facts in ((0, made.facts()), (60, broken), (66, broken)):
        with clock.frozen(now + timedelta(minutes=minutes)):
            look_at(domain, replace(facts, at=clock.now()), settings)
    assert Problem.objects.filter(result_type="policy-host-differs").exists() is opens
    # it is shown all the same
    check = Check.objects.get(domain=domain, last_at=None)
    report = watching.mark_blameless(domain.pk, report_of(check, now, 14), settings)
    [finding] = [each for each in report.findings if each.code == "policy-host-differs"]
    assert (finding.severity == "notice") is not opens
    assert ("a server of this installation: who runs it is told" in finding.evidence) is not opens
