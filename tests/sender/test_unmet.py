"""A policy that cannot be had: told once for each look."""

import asyncio

import pytest
from tests.fakes.policyhost import http
from tests.sender.lab import DOMAIN, Lab

from mailward.core.mtasts.policy import Mode, parse_policy
from mailward.core.names import Domain
from mailward.core.tlsrpt.blindspots import sts_label
from mailward.core.tlsrpt.counting import Tally
from mailward.core.tlsrpt.results import ResultType
from mailward.sender.daemon import Daemon
from mailward.sender.unmet import Unmet, UnmetPolicies

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


async def test_s21_a_refresh_that_fails_is_told_without_mail_and_once(
    lab: Lab, daemon: Daemon, told: list[Unmet]
) -> None:
    lab.publish()
    await daemon.answers.answer(QUESTION)
    lab.publish("2")
    lab.host.response = http(status="404 Not Found")
    for _ in range(2):  # the second is within the pause after the first
        await daemon.knowledge.refresh((await daemon.knowledge.cache.listing())[0].domain)
    for _ in range(2):
        ask_later(daemon)
        await daemon.answers.answer(QUESTION)
    [unmet] = told
    assert unmet.used is not None
    assert unmet.used.mode is Mode.ENFORCE


async def test_the_refresh_of_a_policy_that_asks_for_nothing_is_not_told(
    lab: Lab, daemon: Daemon, told: list[Unmet]
) -> None:
    lab.publish(body=b"version: STSv1\nmode: none\nmax_age: 604800\n")
    await daemon.answers.answer(QUESTION)
    lab.publish("2")
    lab.host.response = http(status="404 Not Found")
    await daemon.knowledge.refresh((await daemon.knowledge.cache.listing())[0].domain)
    assert told == []


async def test_it_stands_beside_the_session_also_where_postfix_is_not_told_the_patterns(
    lab: Lab, daemon: Daemon
) -> None:
    """At `dane`, of a testing policy: an entry of its own would have no session, and not be reported."""
    lab.dns.set(f"_smtp._tls.{DOMAIN}", "TXT", "v=TLSRPTv1; rua=mailto:a@b.test")
    tallies: list[Tally] = []
    sent = asyncio.Event()

    def send(tally: Tally) -> bool:
        tallies.append(tally)
        sent.set()
        return True

    used = parse_policy(b"version: STSv1\nmode: testing\nmx: mx.a.test\nmax_age: 86400\n")
    unmet = UnmetPolicies(daemon.knowledge.discovery.resolver, send, "dane")
    domain = Domain(DOMAIN)
    unmet.note(Unmet(domain, ResultType.STS_POLICY_FETCH_ERROR, "timeout", used))
    task = asyncio.create_task(unmet.run())
    async with asyncio.timeout(10):
        await sent.wait()
    task.cancel()
    [tally] = tallies
    assert tally.policy == sts_label(domain, used, "dane")
    assert tally.policy.mx_host == ()


async def test_a_policy_that_is_had_is_not_told(lab: Lab, daemon: Daemon, told: list[Unmet]) -> None:
    lab.publish()
    await daemon.answers.answer(QUESTION)
    assert told == []
