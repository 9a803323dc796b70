"""The verdict: one fault at a time in evidence that is otherwise enough."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from mailward.core.check.codes import Code as Finding
from mailward.core.explain.rollout import STATES, say_reason, say_verdict
from mailward.core.mtasts.policy import Mode
from mailward.core.rollout.conditions import Conditions
from mailward.core.rollout.evidence import Evidence, Probe, Reporter
from mailward.core.rollout.jump import DayCount, find_jump
from mailward.core.rollout.verdict import (
    Code,
    Reason,
    State,
    judge,
    may_step_back,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
YESTERDAY = date(2026, 11, 29)
PROBE = Probe(
    NOW - timedelta(minutes=30), ("mx.example.test",), (), (), NOW + timedelta(days=60), NOW + timedelta(days=60),
    policy_seen=True, id_seen=True,
)  # fmt: skip
GOOGLE = Reporter("google.com", "sts", 1000, 300, 0, YESTERDAY)
OTHER = Reporter("microsoft.com", "sts", 200, 50, 0, YESTERDAY)
GOOD = Evidence(
    NOW, Mode.TESTING, NOW - timedelta(days=20), 86_400, True, (GOOGLE, OTHER), (), 0, PROBE, fetches=3
)


def verdict_of(**changes: Any) -> tuple[State, tuple[str, ...]]:  # Any: the fields of Evidence
    verdict = judge(replace(GOOD, **changes), Conditions())
    return verdict.state, verdict.codes


def probe(**changes: Any) -> dict[str, Any]:  # Any: the fields of Probe
    return {"probe": replace(PROBE, **changes)}


def test_all_conditions_hold() -> None:
    assert verdict_of() == (State.READY, ())


@pytest.mark.parametrize(
    ("changes", "state", "code"),
    [
        ({"is_served": False}, State.WAITING, Code.NOT_SERVED),
        (probe(policy_seen=False), State.WAITING, Code.NOT_SEEN),
        (probe(id_seen=False), State.WAITING, Code.ID_NOT_SEEN),
        ({"mode_since": NOW - timedelta(days=13, hours=23)}, State.WAITING, Code.TESTING_SHORT),
        ({"reporters": ()}, State.WAITING, Code.NO_REPORTS),
        ({"reporters": (GOOGLE,)}, State.WAITING, Code.FEW_REPORTERS),
        ({"fetches": 0}, State.WAITING, Code.NOT_FETCHED),
        ({"probe": None}, State.WAITING, Code.NOT_CHECKED),
        (probe(checked_at=NOW - timedelta(days=3)), State.WAITING, Code.CHECK_OLD),
        (probe(unobserved=("mx2.example.test",)), State.WAITING, Code.HOST_UNOBSERVED),
        (probe(accepts=()), State.WAITING, Code.HOST_UNOBSERVED),
        (probe(refuses=("mx2.example.test",)), State.BLOCKED, Code.HOST_REFUSED),
        (probe(mx_ends_at=NOW + timedelta(days=6)), State.BLOCKED, Code.CERTIFICATE_ENDS),
        (probe(policy_ends_at=NOW - timedelta(days=1)), State.BLOCKED, Code.CERTIFICATE_ENDS),
        ({"refusals": ("max_age is under a day.",)}, State.BLOCKED, Code.CHANGE_REFUSED),
    ],
)
def test_one_condition_that_does_not_hold_is_named(changes: dict[str, Any], state: State, code: Code) -> None:
    assert verdict_of(**changes) == (state, (code.value,))


def test_reports_of_senders_without_the_policy_are_no_evidence_of_it() -> None:
    """They applied none: no data is not no failure."""
    plain = tuple(replace(each, policy_type="no-policy-found") for each in (GOOGLE, OTHER))
    assert verdict_of(reporters=plain) == (State.WAITING, (Code.NO_REPORTS.value,))


def test_sessions_without_a_policy_count_for_no_number_of_sessions() -> None:
    small = tuple(replace(each, sessions=20) for each in (GOOGLE, OTHER))
    plain = replace(GOOGLE, policy_type="no-policy-found", sessions=10_000)
    assert verdict_of(reporters=(*small, plain)) == (State.WAITING, (Code.FEW_SESSIONS.value,))


def test_old_reports_are_told_by_their_age() -> None:
    old = tuple(replace(each, last_day=YESTERDAY - timedelta(days=4)) for each in (GOOGLE, OTHER))
    verdict = judge(replace(GOOD, reporters=old), Conditions())
    assert verdict.reasons == (Reason(Code.REPORTS_OLD, (), 4, 3),)


def test_successes_of_one_sender_hide_no_failures_of_another() -> None:
    failing = replace(OTHER, recent=10, recent_refused=2)
    verdict = judge(replace(GOOD, reporters=(replace(GOOGLE, recent=1_000_000), failing)), Conditions())
    assert verdict.state is State.BLOCKED
    assert verdict.reasons == (Reason(Code.SESSIONS_REFUSED, ("microsoft.com",), 2),)


def test_under_enforce_only_what_costs_mail_is_a_risk() -> None:
    assert verdict_of(mode=Mode.ENFORCE)[0] is State.ENFORCED
    assert verdict_of(mode=Mode.ENFORCE, reporters=())[0] is State.ENFORCED
    assert verdict_of(mode=Mode.ENFORCE, **probe(refuses=("mx.example.test",)))[0] is State.AT_RISK


def test_without_a_policy_there_is_nothing_to_judge() -> None:
    assert verdict_of(mode=None) == (State.NO_POLICY, ())
    assert verdict_of(mode=Mode.NONE) == (State.NONE, ())


def test_every_state_and_code_has_its_sentence() -> None:
    assert set(STATES) == set(State)
    for code in Code:
        said = say_reason(Reason(code, ("mx{0}.example.test",), 1, 2))
        assert said[0].isupper()
        assert "{" not in said.replace("mx{0}", "")
    verdict = judge(replace(GOOD, reporters=()), Conditions())
    assert say_verdict(verdict).endswith("No data is not no failure.")


REFUSING = replace(GOOD, mode=Mode.ENFORCE, probe=replace(PROBE, accepts=(), refuses=("mx.example.test",)))
EXPIRED = {"mx.example.test": {Finding.CERTIFICATE_EXPIRED.value}}


def test_a_confirmed_fault_of_every_mx_host_of_ours_may_step_back() -> None:
    assert may_step_back(REFUSING, EXPIRED) == ("mx.example.test",)


@pytest.mark.parametrize(
    ("evidence", "confirmed", "why"),
    [
        (REFUSING, {}, "seen once only"),
        (
            REFUSING,
            {"mx.example.test": {Finding.MX_NOT_IN_POLICY.value}},
            "a forged MX record looks like this",
        ),
        (replace(REFUSING, mode=Mode.TESTING), EXPIRED, "it is there already"),
        (
            replace(REFUSING, probe=replace(REFUSING.probe or PROBE, accepts=("b",))),
            EXPIRED,
            "mail still flows",
        ),
        (
            replace(REFUSING, probe=replace(REFUSING.probe or PROBE, unobserved=("b",))),
            EXPIRED,
            "b may take mail",
        ),
        (
            replace(REFUSING, probe=replace(REFUSING.probe or PROBE, checked_at=NOW - timedelta(hours=7))),
            EXPIRED,
            "too long ago",
        ),
        (
            replace(GOOD, mode=Mode.ENFORCE, reporters=(replace(GOOGLE, recent_refused=300),)),
            EXPIRED,
            "reports alone never weaken a policy",
        ),
    ],
)
def test_nothing_else_steps_back(evidence: Evidence, confirmed: dict[str, set[str]], why: str) -> None:
    assert may_step_back(evidence, confirmed) == (), why


def days(*refused: int, sessions: int = 100) -> list[DayCount]:
    first = YESTERDAY - timedelta(days=len(refused) - 1)
    return [DayCount(first + timedelta(days=n), sessions, count) for n, count in enumerate(refused)]


def test_refused_sessions_that_appear_at_once_are_a_jump() -> None:
    jump = find_jump(days(0, 1, 0, 0, 8, 12))
    assert jump is not None
    assert (jump.refused, jump.sessions, jump.last) == (20, 200, YESTERDAY)


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        (days(0, 0, 0, 0, 0), "nothing is refused"),
        (days(0, 0, 50, 50), "two days before are too few to compare with"),
        (days(0, 0, 0, 0, 4, 5), "too few sessions"),
        (days(0, 0, 0, 20, 20, sessions=10_000), "too small a share"),
        (days(10, 9, 11, 10, 12, 10), "it was like this before"),
        ([], "nobody reports"),
    ],
)
def test_what_is_no_jump(counts: list[DayCount], why: str) -> None:
    assert find_jump(counts) is None, why
