from dataclasses import replace

import pytest

from mailward.core.importing.listing import Wish
from mailward.core.importing.verdict import STARTING_MAX_AGE, Seen, Verdict, decide
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain

NAME = Domain("example.test")
HOSTS = ("mx.example.test",)
LIVE = Policy(Mode.ENFORCE, 604_800, ("*.example.test",), (("x-note", "theirs"),))
TESTING = Policy(Mode.TESTING, STARTING_MAX_AGE, HOSTS)


@pytest.mark.parametrize(
    ("wish", "seen", "verdict", "policy"),
    [
        (Wish(NAME, "", HOSTS), Seen(), Verdict.NEW, TESTING),
        (Wish(NAME, ""), Seen(HOSTS), Verdict.NEW, TESTING),
        (Wish(NAME, ""), Seen(), Verdict.WITHOUT_POLICY, None),
        (Wish(NAME, "", HOSTS), Seen(HOSTS, live=LIVE), Verdict.TAKEOVER, LIVE),
        # what the list says weakens nothing that senders hold
        (Wish(NAME, "", HOSTS, TESTING), Seen(live=LIVE), Verdict.TAKEOVER, LIVE),
        (Wish(NAME, "", HOSTS), Seen(live=Policy(Mode.NONE, 60)), Verdict.NEW, TESTING),
        # nobody knows what they hold
        (Wish(NAME, "", HOSTS, TESTING), Seen(unknown="DNS did not answer"), Verdict.WITHOUT_POLICY, None),
        (Wish(NAME, "", HOSTS, LIVE), Seen(HOSTS), Verdict.REFUSED, None),
    ],
)
def test_what_becomes_of_a_row(wish: Wish, seen: Seen, verdict: Verdict, policy: Policy | None) -> None:
    decision = decide(wish, seen, is_there=False)
    assert (decision.verdict, decision.policy) == (verdict, policy)


def test_what_is_there_already_is_left_alone() -> None:
    assert decide(Wish(NAME, "", HOSTS), Seen(live=LIVE), is_there=True).verdict is Verdict.THERE


def test_a_takeover_names_hosts_that_the_live_policy_leaves_out() -> None:
    decision = decide(Wish(NAME, ""), Seen(("mx.other.test",), live=LIVE), is_there=False)
    assert "does not cover mx.other.test" in decision.reason


def test_a_takeover_tells_that_enforce_with_a_short_max_age_protects_hardly_anybody() -> None:
    decision = decide(Wish(NAME, "", HOSTS), Seen(live=replace(LIVE, max_age_seconds=3_600)), is_there=False)
    assert "A max_age of 3600 seconds is under a day" in decision.reason
