"""Whatever strangers put into DNS, HTTP, SMTP and certificates: a report comes out, bounded and printable."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.core.check.made import DOMAIN, MX, NOW, facts, found, host, policy_host, session, tls

from mailward.core.check.document import build_document
from mailward.core.check.facts import (
    Facts,
    Fetch,
    Found,
    Lookup,
    Reach,
    ReportTarget,
    Session,
    Tls,
    TrustError,
)
from mailward.core.check.run import run
from mailward.render.check import render_line, render_report

WORDS = [
    "v=STSv1; id=1;",
    "v=TLSRPTv1; rua=mailto:a@b.test",
    "10 mx.test",
    "0 .",
    "3 1 1 00",
    "mode: enforce",
    ";",
    "*.",
]
texts = st.one_of(st.sampled_from(WORDS), st.text(max_size=80))
lookups = st.builds(
    Lookup,
    st.sampled_from([MX, DOMAIN, "x" * 300, ""]),
    st.sampled_from(["A", "TXT", "TLSA"]),
    st.sampled_from(Found),
    st.lists(texts, max_size=4).map(tuple),
    st.lists(
        st.one_of(st.binary(max_size=80), st.sampled_from([word.encode() for word in WORDS])), max_size=4
    ).map(tuple),
    st.booleans(),
    st.lists(texts, max_size=3).map(tuple),
    texts,
)
chains = st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(tls().chain)), max_size=4).map(tuple)
errors = st.lists(st.builds(TrustError, st.integers(0, 100), st.integers(0, 9), texts), max_size=3).map(tuple)
handshakes = st.one_of(st.none(), st.builds(Tls, texts, texts, chains, errors))
sessions = st.builds(
    Session,
    st.sampled_from(["192.0.2.1", "2001:db8::1", ""]),
    st.sampled_from(Reach),
    texts,
    texts,
    st.lists(st.one_of(texts, st.just("STARTTLS")), max_size=3).map(tuple),
    texts,
    handshakes,
    texts,
)
fetches = st.builds(
    Fetch,
    texts,
    st.sampled_from(["", "status", "connect", "certificate-name", "unobserved", "strange"]),
    texts,
    st.one_of(st.none(), st.integers(100, 599)),
    st.one_of(st.binary(max_size=200), st.just(b"version: STSv1\nmode: enforce\nmx: *.test\nmax_age: 1\n")),
    handshakes,
)
hosts = st.builds(
    lambda name, v4, v6, tlsa, seen: replace(
        host(name=name), v4=v4, v6=v6, tlsa=tuple(tlsa), sessions=tuple(seen)
    ),
    st.one_of(st.sampled_from([MX, "192.0.2.1", ""]), texts),
    lookups,
    lookups,
    st.lists(lookups, max_size=2),
    st.lists(sessions, max_size=3),
)
targets = st.builds(ReportTarget, texts, texts, st.sampled_from([True, False, None]), texts)
strange = st.builds(
    Facts,
    st.just(DOMAIN),
    st.just(NOW),
    st.booleans(),
    lookups,
    st.lists(hosts, max_size=3).map(tuple),
    lookups,
    st.lists(lookups, max_size=2).map(tuple),
    st.builds(
        lambda v4, v6, got: policy_host(v4=v4, v6=v6, fetches=tuple(got)),
        lookups,
        lookups,
        st.lists(fetches, max_size=3),
    ),
    lookups,
    st.lists(targets, max_size=2).map(tuple),
)


@given(strange)
def test_any_facts_give_a_report_that_can_be_shown(case: Facts) -> None:
    report = run(case)
    assert len(report.verdicts) == 4
    json.dumps(build_document(report))
    shown = render_report(report) + render_line(report, "OK")
    assert all(line.isprintable() for line in shown.splitlines())


@given(strange)
def test_the_same_facts_are_judged_the_same(case: Facts) -> None:
    assert run(case) == run(case)


def test_a_thousand_records_and_a_huge_policy_are_cut() -> None:
    many = [session(f"192.0.2.{number}", extensions=("x" * 5000,) * 50, tls=None) for number in range(250)]
    huge = policy_host(Fetch("192.0.2.80", body=b"mx: a\n" * 10_000))
    mx = found(DOMAIN, "MX", *(f"{number} {'a' * 60}{number}.test" for number in range(1000)))
    report = run(facts(hosts=(host(*many),), policy_host=huge, mx=mx))
    assert max(len(finding.evidence) for finding in report.findings) <= 20
    assert len(render_report(report, details=False)) < 100_000
