"""What somebody is told before they publish."""

from datetime import UTC, datetime, timedelta

import pytest

from mailward.core.mtasts.policy import Mode, Policy
from mailward.monitor.proposals import MxProposal
from mailward.store.models import PolicyVersion
from mailward.web.pages.policies.review import Situation, Weight, review

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LIVE = MxProposal(("mx1.a.test", "mx2.a.test"))
LONG_AGO = NOW - timedelta(days=30)
YESTERDAY = NOW - timedelta(days=1)
ALL = ("mx1.a.test", "mx2.a.test")


def version(mode: str, *mx: str) -> PolicyVersion:
    return PolicyVersion(number=1, mode=mode, max_age_seconds=604_800, mx=list(mx))


def remarks(
    policy: Policy,
    *,
    live: MxProposal = LIVE,
    current: PolicyVersion | None = None,
    testing_since: datetime | None = None,
    problems: tuple[str, ...] = (),
    has_reports: bool = True,
) -> list[tuple[Weight, str]]:
    situation = Situation(live, current, testing_since, NOW, problems, has_reports)
    found = review(policy, situation)
    return [(remark.weight, remark.text) for remark in found]


def policy(mode: Mode, *mx: str) -> Policy:
    return Policy(mode, 604_800, mx)


def test_a_policy_that_fits_needs_no_remark() -> None:
    assert remarks(policy(Mode.TESTING, *ALL)) == []
    assert remarks(policy(Mode.ENFORCE, "*.a.test"), testing_since=LONG_AGO) == []


def test_what_is_refused_is_not_remarked_on_as_well() -> None:
    assert remarks(Policy(Mode.ENFORCE, 3_600, ALL), testing_since=LONG_AGO) == []
    ((weight, text),) = remarks(Policy(Mode.TESTING, 3_600, ALL))
    assert (weight, "under a day protects hardly anybody" in text) == (Weight.CARE, True)


TOLD = [
    # a live host is not covered (under enforce that is refused: core.mtasts.change)
    (policy(Mode.TESTING, "mx1.a.test"), None, None, Weight.CARE, "report them as failures"),
    # for hosts to come
    (policy(Mode.TESTING, *ALL, "new.a.test"), None, None, Weight.KNOW, "not in DNS now: new.a.test"),
    # enforce without evidence
    (policy(Mode.ENFORCE, *ALL), version("testing", *ALL), YESTERDAY, Weight.CARE, "since 23 November only"),
    # protection goes
    (policy(Mode.TESTING, *ALL), version("enforce", *ALL), LONG_AGO, Weight.CARE, "loses its protection"),
    (policy(Mode.NONE), version("enforce", *ALL), LONG_AGO, Weight.CARE, "loses its protection"),
    # what senders remember
    (policy(Mode.ENFORCE, *ALL), version("enforce", "mx1.a.test"), LONG_AGO, Weight.CARE, "refuse the new"),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "current", "testing_since", "weight", "text"), TOLD)
def test_what_is_risky_is_told(
    wanted: Policy, current: PolicyVersion | None, testing_since: datetime | None, weight: Weight, text: str
) -> None:
    told = remarks(wanted, current=current, testing_since=testing_since)
    assert any(found is weight and text in sentence for found, sentence in told)


def test_dns_that_does_not_answer_is_no_proof_that_all_is_well() -> None:
    ((weight, text),) = remarks(policy(Mode.TESTING, *ALL), live=MxProposal((), reason="no answer"))
    assert weight is Weight.CARE
    assert "could not be compared with DNS: no answer" in text


def test_the_gravest_comes_first() -> None:
    told = remarks(policy(Mode.TESTING, "mx1.a.test", "new.a.test"))
    assert (told[0][0], told[-1][0]) == (Weight.CARE, Weight.KNOW)


def test_enforce_against_what_reports_show_is_a_danger() -> None:
    expired = tuple(f"Certificate expired: mx{n}.a.test" for n in range(1, 6))
    ((weight, text),) = remarks(policy(Mode.ENFORCE, *ALL), testing_since=LONG_AGO, problems=expired)
    assert weight is Weight.DANGER
    assert "Certificate expired: mx1.a.test; " in text
    assert "and 2 more. Under enforce, mail that meets them is not delivered." in text
    assert remarks(policy(Mode.TESTING, *ALL), problems=expired) == []


def test_enforce_against_the_last_verdict_is_a_danger() -> None:
    situation = Situation(
        LIVE, None, LONG_AGO, NOW, against="Reports show 3 sessions that would have been refused."
    )
    ((weight, text),) = [(each.weight, each.text) for each in review(policy(Mode.ENFORCE, *ALL), situation)]
    assert weight is Weight.DANGER
    assert text == "The page Rollout calls it not safe: Reports show 3 sessions that would have been refused."
    assert review(policy(Mode.TESTING, *ALL), situation) == ()


def test_enforce_without_any_report_wants_care() -> None:
    ((weight, text),) = remarks(policy(Mode.ENFORCE, *ALL), testing_since=LONG_AGO, has_reports=False)
    assert weight is Weight.CARE
    assert "No counted report has come yet" in text
