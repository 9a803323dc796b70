"""When mail meets a policy that cannot be had: told once for each look, and never without mail."""

import pytest
from tests.fakes.policyhost import http
from tests.sender.lab import DOMAIN, Lab

from mailward.core.mtasts.policy import Mode
from mailward.sender.daemon import Daemon
from mailward.sender.unmet import Unmet

QUESTION = f"QUERY {DOMAIN}".encode()


@pytest.fixture
async def told(daemon: Daemon) -> list[Unmet]:
    told: list[Unmet] = []
    daemon.knowledge.on_unmet = told.append
    return told


def ask_later(daemon: Daemon) -> None:
    """What is remembered of answers ends, as after five minutes."""
    daemon.answers.memo.drop_all()


async def test_one_look_is_told_once(lab: Lab, daemon: Daemon, told: list[Unmet]) -> None:
    lab.publish()
    lab.host.response = http(status="404 Not Found")
    for _ in range(3):
        await daemon.answers.answer(QUESTION)
        ask_later(daemon)
    assert [(each.domain, str(each.result_type), each.used) for each in told] == [
        (DOMAIN, "sts-policy-fetch-error", None)
    ]


async def test_a_refresh_that_fails_is_told_when_mail_uses_the_policy(
    lab: Lab, daemon: Daemon, told: list[Unmet]
) -> None:
    lab.publish()
    await daemon.answers.answer(QUESTION)
    lab.publish("2")
    lab.host.response = http(status="404 Not Found")
    await daemon.knowledge.refresh(parse := (await daemon.knowledge.cache.listing())[0].domain)
    assert (told, parse) == ([], DOMAIN), "no mail has met it"
    for _ in range(2):
        ask_later(daemon)
        await daemon.answers.answer(QUESTION)
    [unmet] = told
    assert unmet.used is not None
    assert unmet.used.mode is Mode.ENFORCE


async def test_a_policy_that_is_had_is_not_told(lab: Lab, daemon: Daemon, told: list[Unmet]) -> None:
    lab.publish()
    await daemon.answers.answer(QUESTION)
    assert told == []
