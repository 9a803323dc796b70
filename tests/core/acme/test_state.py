"""Nodes of two releases on one database."""

from mailward.core.acme.state import CareState


def test_a_state_that_only_a_later_release_knows_is_to_wait_for_its_turn() -> None:
    assert CareState("good") is CareState.GOOD
    assert CareState("of-a-later-release") is CareState.QUEUED
