"""What each kind of sender does, and when that changes, in the words that people read."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.core.check.made import (
    DOMAIN,
    MX,
    NOW,
    POLICY,
    TESTING,
    absent,
    chain,
    facts,
    failed,
    found,
    host,
    policy_host,
    record,
    serving,
    session,
    signed,
    signed_host,
    tls,
)

from mailward.core.check.facts import UNOBSERVED, Facts, Fetch, Reach
from mailward.core.check.run import run
from mailward.core.check.verdict import Kind, Outcome
from mailward.core.explain.verdicts import say_verdict

SECOND = "mx2.example.test"
BOTH = POLICY.replace(b"max_age", b"mx: mx2.example.test\nmax_age")
WILD = POLICY.replace(b"mx: mx.example", b"mx: *.example")
DEEP = "a.mx.example.test"
D, P, R, U, N, X = (
    Outcome.DELIVERS,
    Outcome.PARTLY,
    Outcome.REFUSES,
    Outcome.UNPROTECTED,
    Outcome.NO_MAIL,
    Outcome.UNKNOWN,
)


def two(first: Facts | None = None, **second: object) -> Facts:
    other = host(session("192.0.2.26", tls=tls(name=SECOND), **second), name=SECOND)
    return facts(hosts=(host(), other), **serving(BOTH))


SILENT = session(reach=Reach.SILENT, reason="no connection", tls=None, extensions=())
# facts; RFC-strict, Postfix, DANE, others; why
CASES = (
    (facts(), (D, D, U, D), "MTA-STS in force"),
    (signed(signed_host("3 1 1 leaf")), (D, D, D, D), "and DANE"),
    (facts(**serving(TESTING)), (U, U, U, D), "testing protects nothing"),
    (facts(**record()), (U, U, U, D), "nobody hears of the policy"),
    (facts(hosts=(host(session(tls=tls("expired", 10))),)), (R, R, U, D), "expired"),
    (facts(hosts=(host(session(extensions=(), tls=None)),)), (R, R, U, U), "no STARTTLS"),
    (facts(hosts=(host(session(tls=tls("other-name"))),)), (R, R, U, D), "another name"),
    (facts(hosts=(host(SILENT),)), (X, X, U, X), "nothing heard"),
    (two(), (D, D, U, D), "two good hosts"),
    (two(tls_error="alert"), (D, D, U, D), "TLS worked, so nothing else counts"),
    (facts(hosts=(host(), host(SILENT, name=SECOND)), **serving(BOTH)), (D, D, U, D), "one was not heard"),
    (
        facts(hosts=(host(), host(name=SECOND))),
        (P, D, U, D),
        "the second is not covered, its certificate names the first",
    ),
    (
        facts(hosts=(host(session(tls=tls(name=DEEP)), name=DEEP),), **serving(WILD)),
        (R, D, U, D),
        "a wildcard is one label by the RFC, any depth for Postfix",
    ),
    (
        facts(hosts=(host(session(), session("2001:db8::25", tls=tls("expired", 10))),)),
        (P, P, U, D),
        "one address of two",
    ),
    (signed(signed_host("3 1 1 wrong")), (D, D, R, D), "TLSA of another key"),
    (signed(signed_host("1 1 1 leaf")), (D, D, U, D), "unusable records"),
    (signed(signed_host("3 1 1 leaf", tlsa=(failed("_25._tcp", "TLSA"),))), (D, D, R, D), "bogus TLSA"),
    (
        signed(signed_host("3 1 1 leaf"), signed_host(name=SECOND), **serving(BOTH)),
        (D, D, U, D),
        "one host without TLSA",
    ),
    (facts(hosts=(signed_host("3 1 1 leaf"),)), (D, D, U, D), "the MX records can be forged"),
    (facts(validates=False), (D, D, X, D), "no resolver that validates"),
    (facts(mx=found(DOMAIN, "MX", "0 ."), hosts=()), (N, N, N, N), "null MX"),
    (facts(mx=failed(DOMAIN, "MX"), hosts=()), (X, X, X, X), "the DNS does not answer"),
)


@pytest.mark.parametrize("case, outcomes, why", CASES, ids=[why for _, _, why in CASES])
def test_what_senders_do(case: Facts, outcomes: tuple[Outcome, ...], why: str) -> None:
    assert tuple(verdict.outcome for verdict in run(case).verdicts) == outcomes, why


def sentence(case: Facts, kind: Kind = Kind.MTA_STS) -> str:
    [verdict] = [verdict for verdict in run(case).verdicts if verdict.kind is kind]
    return say_verdict(verdict, case.at)


def test_postfix_is_one_and_senders_are_many() -> None:
    case = next(case for case, outcomes, _ in CASES if outcomes[0] is Outcome.NO_MAIL)
    nowhere = "nowhere to deliver: the domain takes no mail."
    assert sentence(case, Kind.POSTFIX) == f"Postfix with an MTA-STS plugin has {nowhere}"
    assert sentence(case) == f"Senders that enforce MTA-STS have {nowhere}"


def test_what_changes_soon_has_its_day() -> None:
    soon = host(session(tls=tls("ends-soon")))
    ends = chain("ends-soon", MX).certificates[0].not_valid_after_utc
    text = "Senders that enforce MTA-STS deliver to you. The MX certificate expires in"
    assert sentence(facts(hosts=(soon,))) == f"{text} {(ends - NOW).days} days ({ends:%Y-%m-%d})."


def test_of_several_certificates_those_that_end_are_counted() -> None:
    other = host(session("192.0.2.26", tls=tls("ends-soon", name=SECOND)), name=SECOND)
    text = sentence(facts(hosts=(host(), other), **serving(BOTH)))
    assert text.startswith("Senders that enforce MTA-STS deliver to you. 1 of 2 MX certificates expires in ")


def test_with_usage_3_no_date_is_told() -> None:
    case = signed(signed_host("3 1 1 leaf", sessions=(session(tls=tls("good")),)))
    assert sentence(case, Kind.DANE) == "Senders that use DANE deliver to you."


def test_whoever_is_refused_is_named() -> None:
    text = sentence(facts(hosts=(host(), host(name=SECOND))))
    assert (
        text
        == f"Senders that enforce MTA-STS deliver to some of your MX hosts or addresses only, not to {SECOND}."
    )


@pytest.mark.parametrize("kind", Kind)
def test_every_outcome_is_a_sentence(kind: Kind) -> None:
    for case, _, _ in CASES:
        text = sentence(case, kind)
        assert text[0].isupper()
        assert text.endswith(".")
        assert "  " not in text


def test_a_fault_counts_once_in_the_grade_however_many_hosts_have_it() -> None:
    bad = (
        host(session(tls=tls("expired", 10))),
        host(session(tls=tls("expired", 10, name=SECOND)), name=SECOND),
    )
    graded = run(facts(hosts=bad, **serving(BOTH))).grade
    assert graded is not None
    assert (graded.letter, graded.sum) == ("C", ("100", "- 40 certificate-expired", "= 60"))


def test_who_is_unprotected_gets_half_at_most() -> None:
    graded = run(facts(**serving(TESTING))).grade
    assert graded is not None
    assert (graded.letter, graded.points) == ("C", 50)


@pytest.mark.parametrize(
    "case", [facts(hosts=(host(SILENT),)), facts(mx=found(DOMAIN, "MX", "0 ."), hosts=())]
)
def test_nothing_seen_is_no_grade(case: Facts) -> None:
    assert run(case).grade is None


def test_facts_can_be_judged_again_later() -> None:
    later = replace(facts(), at=NOW + timedelta(days=70))
    assert {finding.code for finding in run(later).findings} == {"certificate-expired"}
    assert run(later).verdicts[0].outcome is R


def test_a_domain_without_policy_host_and_record_has_no_policy() -> None:
    nothing = facts(**record(), policy_host=policy_host(v4=absent("mta-sts", "A"), fetches=()))
    assert sentence(nothing) == (
        "Senders that enforce MTA-STS deliver to you without protection: there is no policy that they can use."
    )


def test_a_policy_host_that_there_is_no_way_to_is_no_missing_policy() -> None:
    """Its only address is IPv6, and this machine has none: what senders do is not known from here, and has no grade."""
    blind = Fetch("2001:db8::80", UNOBSERVED, "no route from here")
    report = run(facts(policy_host=policy_host(blind)))
    [strict, plugin, *_] = report.verdicts
    assert (strict.outcome, plugin.outcome) == (Outcome.UNKNOWN, Outcome.UNKNOWN)
    assert say_verdict(strict, NOW) == (
        "Not known: what senders that enforce MTA-STS do. The policy host could not be observed."
    )
    assert report.findings == ()
    assert report.grade is None
    half = run(facts(policy_host=policy_host(Fetch("192.0.2.80", body=POLICY), blind)))
    assert half.verdicts[0].outcome is Outcome.DELIVERS
