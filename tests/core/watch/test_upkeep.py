import pytest

from mailward.core.explain.problem import explain_problem
from mailward.core.explain.upkeep import OF_RECORD
from mailward.core.watch.standing import Step
from mailward.core.watch.upkeep import Upkeep, advance

RIGHT = Upkeep(was_right=True)
TOLD = Upkeep(was_right=True, missed=2, is_told=True)


@pytest.mark.parametrize("state", ["wrong", "missing", "conflicting"])
def test_what_was_right_is_told_when_it_is_seen_twice_otherwise(state: str) -> None:
    once, step = advance(RIGHT, state)
    assert (step, once.is_pending) == (Step.NONE, True)
    assert advance(once, state) == (TOLD, Step.OPEN)
    assert advance(TOLD, state) == (TOLD, Step.NONE)


@pytest.mark.parametrize(
    ("upkeep", "state", "is_settling", "after", "step"),
    [
        (Upkeep(), "missing", False, Upkeep(), Step.NONE),  # never set up
        (Upkeep(), "right", False, RIGHT, Step.NONE),
        (RIGHT, "unknown", False, RIGHT, Step.NONE),
        (TOLD, "unknown", False, TOLD, Step.NONE),  # proves nothing either way
        (TOLD, "right", False, RIGHT, Step.CLOSE),
        (Upkeep(was_right=True, missed=1), "right", False, RIGHT, Step.NONE),  # one answer was lost
        (RIGHT, "wrong", True, RIGHT, Step.NONE),  # we have just changed what it should say
    ],
)
def test_what_opens_and_ends_nothing(
    upkeep: Upkeep, state: str, is_settling: bool, after: Upkeep, step: Step
) -> None:
    assert advance(upkeep, state, is_settling=is_settling) == (after, step)


def test_every_record_has_its_explanation() -> None:
    assert {explain_problem(code).code for code in OF_RECORD.values()} == set(OF_RECORD.values())
