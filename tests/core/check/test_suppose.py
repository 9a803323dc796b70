"""Dry runs: what would be, if something were published."""

from dataclasses import replace

import pytest
from tests.core.check.made import (
    DOMAIN,
    MX,
    POLICY,
    absent,
    authority,
    chain,
    facts,
    host,
    policy_host,
    record,
    session,
    signed,
    signed_host,
    tls,
)
from tests.zoo.certs import tlsa

from mailward.core.check.facts import Facts
from mailward.core.check.run import run
from mailward.core.check.suppose import SuppositionWrong, suppose_mx, suppose_policy, suppose_tlsa
from mailward.core.check.verdict import Kind, Outcome
from mailward.core.names import Domain

NOTHING = record() | {"policy_host": policy_host(v4=absent(f"mta-sts.{DOMAIN}", "A"), fetches=())}


def outcome(case: Facts, kind: Kind) -> Outcome:
    return next(verdict.outcome for verdict in run(case).verdicts if verdict.kind is kind)


def codes(case: Facts) -> set[str]:
    return {finding.code for finding in run(case).findings}


def test_a_first_policy_is_tried_against_the_servers_of_now() -> None:
    supposed = suppose_policy(facts(**NOTHING), POLICY)
    assert codes(supposed) == set()
    assert outcome(supposed, Kind.MTA_STS) is Outcome.DELIVERS
    assert supposed.supposed == ("this policy is served",)


def test_a_policy_that_would_stop_mail_is_told_before_it_does() -> None:
    bad = facts(hosts=(host(session(tls=tls("self-signed", 18))),), **NOTHING)
    assert outcome(bad, Kind.MTA_STS) is Outcome.UNPROTECTED
    assert outcome(suppose_policy(bad, POLICY), Kind.MTA_STS) is Outcome.REFUSES


def test_a_supposed_policy_is_read_by_the_grammar_as_any_other() -> None:
    assert codes(suppose_policy(facts(), POLICY.replace(b"enforce", b"Enforce"))) == {"sts-policy-invalid"}


def test_what_is_wrong_with_the_policy_host_stays_wrong() -> None:
    soon = policy_host()
    [fetch] = soon.fetches
    late = facts(policy_host=policy_host(type(fetch)(fetch.address, body=POLICY, tls=tls("ends-soon"))))
    assert codes(suppose_policy(late, POLICY)) == {"policy-certificate-expires"}


@pytest.mark.parametrize("what, expected", [("leaf", Outcome.DELIVERS), ("wrong", Outcome.REFUSES)])
def test_a_record_is_tried_before_it_is_published(what: str, expected: Outcome) -> None:
    record_text = tlsa(f"3 1 1 {what}", chain("good", MX), authority().intermediate.certificate)
    supposed = suppose_tlsa(signed(signed_host()), f"{MX} {record_text}")
    assert outcome(supposed, Kind.DANE) is expected


def test_a_rollover_is_tried_with_both_records() -> None:
    case = signed(signed_host())
    for what in ("leaf", "wrong"):
        text = tlsa(f"3 1 1 {what}", chain("good", MX), authority().intermediate.certificate)
        case = suppose_tlsa(case, f"{MX} {text}")
    assert len(case.hosts[0].tlsa[0].records) == 2
    assert outcome(case, Kind.DANE) is Outcome.DELIVERS


def test_a_record_for_a_host_in_an_unsigned_zone_would_do_nothing() -> None:
    supposed = suppose_tlsa(facts(), f"{MX} 3 1 1 {'00' * 32}")
    assert codes(supposed) == {"tlsa-insecure"}


def test_other_mx_hosts_are_marked_as_supposed() -> None:
    assert suppose_mx(facts(), (Domain("a.test"), Domain("b.test"))).supposed == ("MX a.test, b.test",)


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is not 'MX_HOST USAGE SELECTOR TYPE DATA'"),
        (f"{MX} 3 1 1", "is no TLSA record"),
        (f"{MX} 3 1 1 xyz", "is no TLSA record"),
        (f"other.test 3 1 1 {'00' * 32}", "other.test is no MX host of example.test"),
    ],
)
def test_what_cannot_be_supposed_is_said(text: str, words: str) -> None:
    with pytest.raises(SuppositionWrong, match=words):
        suppose_tlsa(facts(), text)


def test_a_supposed_policy_is_not_compared_with_what_another_client_got() -> None:
    [fetch] = policy_host().fetches
    served = facts(policy_host=policy_host(as_others=replace(fetch, client="without User-Agent and Accept")))
    assert codes(served) == set()
    assert codes(suppose_policy(served, POLICY.replace(b"2419200", b"604800"))) == set()
