from dataclasses import replace

import pytest

from mailward.core.names import Domain
from mailward.monitor.expected import DomainFacts, RecordState, State
from mailward.monitor.judge import judge_claim, judge_misplaced, judge_policy_host, judge_sts, judge_tlsrpt
from mailward.net.resolver import Answer, Status

FACTS = DomainFacts(
    Domain("example.test"),
    "t0ken",
    "abc@reports.test",
    "20261124",
    "policy.provider.test",
    organisation_address="org@reports.test",
)
NOTHING: Answer[str] = Answer(Status.NODATA)
GONE: Answer[bytes] = Answer(Status.NXDOMAIN)
FAILED: Answer[bytes] = Answer(Status.FAILED, reason="ns1 answers SERVFAIL")
OURS = Answer(Status.FOUND, ("192.0.2.1", "2001:db8::1"))


def found(*txts: str, chain: tuple[str, ...] = ()) -> Answer[bytes]:
    return Answer(Status.FOUND, tuple(txt.encode() for txt in txts), chain=chain)


STS = "v=STSv1; id=20261124;"
TLSRPT = "v=TLSRPTv1; rua=mailto:abc@reports.test"


@pytest.mark.parametrize(
    "answer, state, words",
    [
        (found("mailward-claim=t0ken"), State.RIGHT, ""),
        (found("v=spf1 -all", " mailward-claim=t0ken "), State.RIGHT, ""),
        (found("mailward-claim=other", "mailward-claim=t0ken"), State.RIGHT, ""),  # of another organisation
        (found("mailward-claim=other"), State.WRONG, "the token is another one"),
        (found("mailward-claim=T0KEN"), State.WRONG, "another one"),
        (found("t0ken"), State.MISSING, "no TXT record begins"),
        (GONE, State.MISSING, "publish TXT mailward-claim=t0ken"),
        (Answer(Status.NODATA, chain=("x.test",)), State.WRONG, "leads to x.test, which has no TXT"),
        (FAILED, State.UNKNOWN, "ns1 answers SERVFAIL"),
    ],
)
def test_a_claim_is_judged(answer: Answer[bytes], state: State, words: str) -> None:
    judged = judge_claim(FACTS, answer)
    assert judged.state is state
    assert words in judged.detail


@pytest.mark.parametrize(
    "answer, state, words",
    [
        (found(STS), State.RIGHT, ""),
        (found("v=spf1 -all", "v=STSv1;id=20261124"), State.RIGHT, ""),
        (found(STS, chain=("example.test._mta-sts.provider.test",)), State.RIGHT, ""),  # delegated
        (
            found("v=STSv1; id=20250101;"),
            State.WRONG,
            "the id is 20250101, but the policy served now has 20261124",
        ),
        (found("v=STSv1; id=2026-11-24;"), State.WRONG, "letters and digits"),
        (found("v=stsv1; id=20261124;"), State.WRONG, "does not begin with"),
        (found('"v=STSv1; id=20261124;"'), State.WRONG, "quotes"),
        (found("v=spf1 -all"), State.MISSING, "other text stands there"),
        (found(STS, "v=STSv1; id=1;"), State.CONFLICTING, "2 records"),
        (GONE, State.MISSING, "expected v=STSv1; id=20261124;"),
        (FAILED, State.UNKNOWN, "SERVFAIL"),
    ],
)
def test_the_sts_record_is_judged(answer: Answer[bytes], state: State, words: str) -> None:
    judged = judge_sts(FACTS, answer, NOTHING)
    assert judged.state is state
    assert words in judged.detail


def test_the_id_of_another_provider_stands_until_ours_is_told() -> None:
    facts = replace(FACTS, policy_id=None, policy_text="version: STSv1")
    judged = judge_sts(facts, found("v=STSv1; id=old;"), NOTHING)
    assert judged.state is State.WRONG
    assert "the id is old, and ours is told once every policy host serves the policy" in judged.detail
    without = judge_sts(replace(facts, policy_text=None), found("v=STSv1; id=old;"), NOTHING)
    assert without.detail == "the record announces a policy, but none is served yet"


@pytest.mark.parametrize(
    "answer, state, words",
    [
        (found(TLSRPT), State.RIGHT, ""),
        (found("v=TLSRPTv1;rua=mailto:ABC@Reports.test"), State.RIGHT, ""),
        (found("v=TLSRPTv1; rua=mailto:org@reports.test"), State.RIGHT, ""),  # routes by policy domain
        (found(TLSRPT + ",https://r.example/x"), State.RIGHT, "1 other target"),
        (found("v=TLSRPTv1; rua=mailto:x@elsewhere.test"), State.WRONG, "reports go elsewhere"),
        (found(TLSRPT + "!10m"), State.WRONG, "'!'"),
        (found("v=DMARC1; rua=mailto:abc@reports.test"), State.MISSING, "other text"),
        (found(TLSRPT, "v=TLSRPTv1; rua=mailto:x@y.test"), State.CONFLICTING, "2 records"),
        (GONE, State.MISSING, "expected rua=mailto:abc@reports.test"),
    ],
)
def test_the_tlsrpt_record_is_judged(answer: Answer[bytes], state: State, words: str) -> None:
    judged = judge_tlsrpt(FACTS, answer, NOTHING)
    assert judged.state is state
    assert words in judged.detail


def test_an_old_txt_beside_the_cname_conflicts() -> None:
    alias = Answer(Status.FOUND, ("example.test._mta-sts.provider.test",))
    judged = judge_sts(FACTS, found(STS), alias)
    assert judged.state is State.CONFLICTING
    assert judged.observed == ("CNAME example.test._mta-sts.provider.test", f"TXT {STS}")
    assert judge_tlsrpt(FACTS, found(TLSRPT), alias).state is State.CONFLICTING


@pytest.mark.parametrize(
    "answer, served, state, words",
    [
        (Answer(Status.FOUND, ("192.0.2.1",), chain=("policy.provider.test",)), None, State.RIGHT, ""),
        (
            Answer(Status.FOUND, ("192.0.2.1",), chain=("a.test", "policy.provider.test")),
            None,
            State.RIGHT,
            "",
        ),
        (Answer(Status.NODATA, chain=("policy.provider.test",)), None, State.RIGHT, "itself has no address"),
        (Answer(Status.FOUND, ("192.0.2.1",)), None, State.RIGHT, ""),  # self-managed
        (Answer(Status.FOUND, ("198.51.100.7",)), None, State.WRONG, "leads to another server"),
        (Answer(Status.FOUND, ("198.51.100.7",)), "", State.RIGHT, "another server is in front"),
        (Answer(Status.FOUND, ("198.51.100.7",)), "status 404", State.WRONG, "status 404"),
        (
            Answer(Status.FOUND, ("198.51.100.7",), chain=("x.test",)),
            None,
            State.WRONG,
            "CNAME policy.provider.test",
        ),
        (
            Answer(Status.NXDOMAIN, chain=("x.test",)),
            None,
            State.WRONG,
            "leads to x.test, which has no address",
        ),
        (Answer(Status.NXDOMAIN), None, State.MISSING, "expected CNAME policy.provider.test"),
        (Answer(Status.FAILED, reason="timeout"), None, State.UNKNOWN, "timeout"),
    ],
)
def test_the_policy_host_is_judged(answer: Answer[str], served: str | None, state: State, words: str) -> None:
    judged = judge_policy_host(FACTS, answer, OURS, NOTHING, served)
    assert judged.state is state
    assert words in judged.detail


def test_addresses_beside_a_cname_conflict() -> None:
    alias = Answer(Status.FOUND, ("policy.provider.test",))
    judged = judge_policy_host(FACTS, Answer(Status.FOUND, ("192.0.2.1",)), OURS, alias)
    assert judged.state is State.CONFLICTING


def test_nothing_is_said_when_our_own_address_is_unknown() -> None:
    ours: Answer[str] = Answer(Status.FAILED, reason="timeout")
    judged = judge_policy_host(FACTS, Answer(Status.FOUND, ("192.0.2.1",)), ours, NOTHING)
    assert judged.state is State.UNKNOWN


def test_a_record_under_the_domain_twice_is_named() -> None:
    missing = judge_sts(FACTS, GONE, NOTHING)
    judged = judge_misplaced(missing, "_mta-sts.example.test.example.test", found(STS), b"v=STSv1")
    assert judged.state is State.WRONG
    assert "_mta-sts.example.test.example.test" in judged.detail
    assert judge_misplaced(missing, "x", GONE, b"v=STSv1") == missing


def test_what_was_seen_is_shown_printable_and_short() -> None:
    judged: RecordState = judge_claim(FACTS, Answer(Status.FOUND, (b"\xff\x00\n<b>", b"x" * 1000)))
    assert judged.observed == ("TXT \\xff\\x00\\n<b>", "TXT " + "x" * 296 + "...")
    many = judge_claim(FACTS, found(*(str(number) for number in range(100))))
    assert len(many.observed) == 20
