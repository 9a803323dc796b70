"""Which changes are refused, and that nothing else is."""

import pytest

from mailward.core.mtasts.change import ChangeFacts, refuse
from mailward.core.mtasts.policy import Mode, Policy

MX = ("mx1.example.net", "mx2.example.net")


def policy(mode: Mode = Mode.ENFORCE, max_age_seconds: int = 604_800, mx: tuple[str, ...] = MX) -> Policy:
    return Policy(mode, max_age_seconds, mx)


TESTED = policy(Mode.TESTING)


def codes(change: Policy, facts: ChangeFacts) -> list[tuple[str, str]]:
    return [(each.code.value, each.about) for each in refuse(change, facts)]


def test_a_tested_policy_that_covers_every_host_may_be_enforced() -> None:
    assert codes(policy(), ChangeFacts(MX, current=TESTED)) == []


@pytest.mark.parametrize(
    "change, facts, expected",
    [
        (policy(), ChangeFacts(None, "SERVFAIL", current=TESTED), [("mx-unknown", "")]),
        (policy(mx=MX[:1]), ChangeFacts(MX, current=TESTED), [("mx-not-covered", MX[1])]),
        # RFC 8461 section 4.1: the star is one label
        (policy(mx=("*.net",)), ChangeFacts(MX[:1], current=TESTED), [("mx-not-covered", MX[0])]),
        (policy(), ChangeFacts(MX, rejected={MX[0]: "expired"}, current=TESTED), [("mx-certificate", MX[0])]),
        (policy(max_age_seconds=86_399), ChangeFacts(MX, current=TESTED), [("max-age-short", "")]),
        (policy(), ChangeFacts(MX), [("never-tested", "")]),
        (policy(), ChangeFacts(MX, current=policy(Mode.NONE)), [("never-tested", "")]),
    ],
)
def test_what_would_lock_mail_out_is_refused(
    change: Policy, facts: ChangeFacts, expected: list[tuple[str, str]]
) -> None:
    assert codes(change, facts) == expected


@pytest.mark.parametrize("mode", [Mode.TESTING, Mode.NONE])
def test_testing_and_none_lock_nothing_out(mode: Mode) -> None:
    change = policy(mode, max_age_seconds=60, mx=("elsewhere.example",))
    assert codes(change, ChangeFacts(None)) == []


def test_a_host_that_is_refused_already_does_not_stop_another_change() -> None:
    facts = ChangeFacts(MX, rejected={MX[0]: "expired"}, current=policy(mx=MX[:1]))
    assert codes(policy(max_age_seconds=1_209_600), facts) == []


def test_a_host_that_the_change_brings_in_must_be_fit() -> None:
    facts = ChangeFacts(MX, rejected={MX[1]: "expired"}, current=policy(mx=MX[:1]))
    assert codes(policy(), facts) == [("mx-certificate", MX[1])]


def test_a_domain_that_takes_no_mail_locks_nobody_out() -> None:
    assert codes(policy(), ChangeFacts((), current=TESTED)) == []


def test_all_reasons_are_told_at_once() -> None:
    facts = ChangeFacts(MX, rejected={MX[0]: "self-signed"})
    found = codes(policy(max_age_seconds=60, mx=MX[:1]), facts)
    assert [code for code, _ in found] == [
        "mx-not-covered",
        "mx-certificate",
        "max-age-short",
        "never-tested",
    ]
