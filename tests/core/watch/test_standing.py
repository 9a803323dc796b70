"""A finding is told once two looks agree, and is over the same way."""

from dataclasses import replace

import pytest
from tests.core.check.made import DOMAIN, MX, facts, host, policy_host, record, session

from mailward.core.check.codes import Code
from mailward.core.check.facts import Fetch, Found, Lookup, Reach, Session
from mailward.core.check.finding import Finding
from mailward.core.explain.explanation import Severity
from mailward.core.watch.standing import Standing, Step, advance, begin, is_observed

WARNING = Finding(Code.STS_RECORD_MISSING, Severity.WARNING, "_mta-sts.example.test")
CRITICAL = Finding(Code.CERTIFICATE_EXPIRED, Severity.CRITICAL, "mx.example.test")


def look(standing: Standing, *sights: str) -> tuple[Standing, list[Step]]:
    """`x` shows it, `-` does not, `?` saw nothing, `=` shows what the look before showed. `!` and `#` are as `x` and
    `=`, and it costs mail.
    """
    steps = []
    for sight in sights:
        standing, step = advance(
            standing,
            is_there=sight in "x=!#",
            is_observed=sight != "?",
            is_fresh=sight not in "=#",
            is_confirmed=False,
            is_critical=sight in "!#",
        )
        steps.append(step)
    return standing, steps


@pytest.mark.parametrize(
    ("sights", "steps"),
    [
        ("xx", [Step.NONE, Step.OPEN]),
        ("x-", [Step.NONE, Step.FORGET]),  # one bad answer is no news
        ("x?x", [Step.NONE, Step.NONE, Step.OPEN]),  # what saw nothing says nothing
        ("x==x", [Step.NONE, Step.NONE, Step.NONE, Step.OPEN]),  # the same look twice is one look
        ("xxxx", [Step.NONE, Step.OPEN, Step.NONE, Step.NONE]),
        ("xx--", [Step.NONE, Step.OPEN, Step.NONE, Step.CLOSE]),
        ("xx-x-x", [Step.NONE, Step.OPEN, Step.NONE, Step.NONE, Step.NONE, Step.NONE]),  # it flaps, and lasts
        ("xx-?-", [Step.NONE, Step.OPEN, Step.NONE, Step.NONE, Step.CLOSE]),
    ],
)
def test_two_looks_in_a_row_decide(sights: str, steps: list[Step]) -> None:
    assert look(Standing(), *sights)[1] == steps


def test_what_was_there_from_the_beginning_is_told_only_where_it_costs_mail() -> None:
    assert look(begin(WARNING, is_first_check=True), *"xxx")[1] == [Step.NONE] * 3
    assert look(begin(CRITICAL, is_first_check=True), *"xx")[1] == [Step.NONE, Step.OPEN]
    assert look(begin(WARNING, is_first_check=False), *"xx")[1] == [Step.NONE, Step.OPEN]


@pytest.mark.parametrize(
    ("sights", "steps"),
    [
        ("x!", [Step.NONE, Step.NONE]),
        ("xx!!", [Step.NONE, Step.NONE, Step.NONE, Step.OPEN]),
        (
            "xx##!",
            [Step.NONE, Step.NONE, Step.NONE, Step.NONE, Step.OPEN],
        ),  # the policy says more, no new handshake
        ("xx!-", [Step.NONE, Step.NONE, Step.NONE, Step.FORGET]),
    ],
)
def test_what_begins_to_cost_mail_is_new(sights: str, steps: list[Step]) -> None:
    standing, found = look(begin(WARNING, is_first_check=True), *sights)
    assert found == steps
    assert standing.is_baseline is False


def test_what_others_have_seen_often_enough_is_told_and_over_at_once() -> None:
    standing, step = advance(Standing(), is_there=True, is_observed=True, is_fresh=False, is_confirmed=True)
    assert step is Step.OPEN
    _, step = advance(standing, is_there=False, is_observed=True, is_fresh=False, is_confirmed=True)
    assert step is Step.CLOSE


def test_only_what_the_next_look_decides_is_worth_looking_again_soon() -> None:
    for sights, is_pending in (("x", True), ("xx", False), ("xx-", True)):
        assert look(Standing(), *sights)[0].is_pending is is_pending
    assert not look(begin(WARNING, is_first_check=True), "x")[0].is_pending


SEEN = ("192.0.2.25: certificate for other.example",)
SILENT = session(reach=Reach.SILENT, reason="no answer", tls=None)


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        ((session(),), True),
        ((SILENT,), False),
        ((replace(SILENT, address="2001:db8::1"), session()), True),  # not the address where it was seen
        ((SILENT, session("192.0.2.26")), False),
        ((session(reach=Reach.REFUSED, tls=None),), True),
    ],
)
def test_a_fault_is_over_only_where_it_was_looked_for(sessions: tuple[Session, ...], expected: bool) -> None:
    found = facts(hosts=(host(*sessions),))
    about = found.hosts[0].name
    assert is_observed(found, Code.CERTIFICATE_HOST_MISMATCH, about, SEEN) is expected


def test_where_the_dns_fails_no_fault_is_over() -> None:
    failed = Lookup("example.test", "MX", Found.FAILED)
    assert not is_observed(facts(mx=failed, hosts=()), Code.CERTIFICATE_EXPIRED, "mx.example.test", ())
    assert is_observed(facts(mx=failed, hosts=()), Code.MX_LOOKUP_FAILED, "example.test", ())


def test_while_the_policy_cannot_be_fetched_nothing_has_become_better() -> None:
    away = policy_host(Fetch("192.0.2.80", "connect", "refused"))
    text = f"https://mta-sts.{DOMAIN}/.well-known/mta-sts.txt"
    for code, about in (
        (Code.CERTIFICATE_EXPIRED, MX),
        (Code.MX_NOT_IN_POLICY, MX),
        (Code.STS_POLICY_INVALID, text),
    ):
        assert not is_observed(facts(policy_host=away), code, about, ())
        assert is_observed(facts(), code, about, ())
    assert is_observed(facts(policy_host=away, **record()), Code.CERTIFICATE_EXPIRED, MX, ()), "it is removed"
