"""Every code once, with facts that call for it: found there, and nothing else is."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.core.check.made import (
    DOMAIN,
    MX,
    POLICY,
    TESTING,
    absent,
    facts,
    failed,
    found,
    host,
    policy_host,
    record,
    reports,
    serving,
    session,
    signed,
    signed_host,
    tls,
)
from tests.core.check.test_history import CASES as OVER_TIME
from tests.zoo.certs import issue_by

from mailward.core.check.codes import RESULT_TYPES, Code
from mailward.core.check.facts import Ciphers, Depth, Facts, Fetch, Reach, ReportTarget
from mailward.core.check.run import run
from mailward.core.explain.checks import CHECKS, explain_finding
from mailward.core.explain.explanation import Severity

NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL
STS = f"_mta-sts.{DOMAIN}"
WEB = f"mta-sts.{DOMAIN}"
GONE = host(name="gone.example.test", v4=absent("gone", "A"), sessions=())
BOTH = POLICY.replace(b"max_age", b"mx: gone.example.test\nmax_age")
NULL = found(DOMAIN, "MX", "0 .")
NOTHING = record() | {"policy_host": policy_host(v4=absent(WEB, "A"), fetches=())}


def fetch(error: str, status: int | None = None) -> Facts:
    return facts(policy_host=policy_host(Fetch("192.0.2.80", error, "in words", status)))


def seen(**changes: Any) -> Facts:  # Any: the fields of Session
    return facts(hosts=(host(session(**changes)),))


GOOD = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"


def accepting(*suites: str, unfinished: str = "") -> Facts:
    return seen(depth=Depth(ciphers=Ciphers((("TLSv1.2", suites),), unfinished)))


CASES: tuple[tuple[Code, Severity, Facts], ...] = (
    (Code.MX_LOOKUP_FAILED, CRITICAL, facts(mx=failed(DOMAIN, "MX"), hosts=())),
    (Code.MX_NULL, NOTICE, facts(mx=NULL, hosts=(), **NOTHING, **reports())),
    (Code.MX_NULL_MISUSED, WARNING, facts(mx=found(DOMAIN, "MX", "0 .", f"10 {MX}"))),
    (
        Code.MX_IMPLICIT,
        NOTICE,
        facts(
            mx=absent(DOMAIN, "MX"),
            hosts=(host(session(tls=tls(name=DOMAIN)), name=DOMAIN),),
            **serving(POLICY.replace(b"mx.example", b"example")),
        ),
    ),
    (Code.MX_NOWHERE, CRITICAL, facts(hosts=(GONE,), **NOTHING)),
    (Code.MX_HOST_UNRESOLVABLE, WARNING, facts(hosts=(host(), GONE), **serving(BOTH))),
    (
        Code.MX_HOST_CNAME,
        WARNING,
        facts(hosts=(host(v4=replace(found(MX, "A", "192.0.2.25"), chain=("a.test",))),)),
    ),
    (
        Code.MX_HOST_PRIVATE,
        WARNING,
        facts(hosts=(host(session(), session("10.0.0.1", reach=Reach.FORBIDDEN, reason="private")),)),
    ),
    (Code.MX_DUPLICATE, NOTICE, facts(mx=found(DOMAIN, "MX", f"10 {MX}", f"20 {MX}"))),
    (Code.STS_ABSENT, WARNING, facts(**NOTHING)),
    (Code.STS_RECORD_MISSING, WARNING, facts(**record())),
    (
        Code.STS_RECORD_MISPLACED,
        WARNING,
        facts(**record(), elsewhere=(found(DOMAIN, "TXT", "v=STSv1; id=1;"),)),
    ),
    (Code.STS_RECORD_SEVERAL, WARNING, facts(**record("v=STSv1; id=1;", "v=STSv1; id=2;"))),
    (Code.STS_RECORD_OTHER_TEXT, NOTICE, facts(**record("v=STSv1; id=1;", "v=spf1 -all"))),
    (Code.STS_RECORD_VERSION, WARNING, facts(**record('"v=STSv1; id=1;"'))),
    (Code.STS_RECORD_ID, WARNING, facts(**record("v=STSv1; id=2026-11-28;"))),
    (Code.STS_RECORD_SYNTAX, WARNING, facts(**record("v=STSv1; id=1; a = b;"))),
    (Code.STS_RECORD_DANGLING, WARNING, facts(sts=absent(STS, "TXT", chain=("gone.test",)))),
    (Code.STS_RECORD_LOOKUP_FAILED, WARNING, facts(sts=failed(STS, "TXT"))),
    (Code.POLICY_HOST_NOT_IN_DNS, WARNING, facts(policy_host=policy_host(v4=absent(WEB, "A"), fetches=()))),
    (
        Code.POLICY_HOST_DANGLING,
        WARNING,
        facts(policy_host=policy_host(v4=absent(WEB, "A", chain=("gone.test",)), fetches=())),
    ),
    (Code.POLICY_HOST_UNREACHABLE, WARNING, fetch("connect")),
    (
        Code.POLICY_HOST_DIFFERS,
        WARNING,
        facts(
            policy_host=policy_host(
                Fetch("192.0.2.80", body=POLICY), Fetch("192.0.2.81", "connect", "refused")
            )
        ),
    ),
    (Code.POLICY_HOST_TLS, WARNING, fetch("tls")),
    (
        Code.POLICY_BODIES_DIFFER,
        WARNING,
        facts(
            policy_host=policy_host(
                Fetch("192.0.2.80", body=POLICY),
                Fetch("192.0.2.81", body=POLICY.replace(b"2419200", b"2419201")),
            )
        ),
    ),
    (
        Code.POLICY_CLIENT_DIFFERS,
        NOTICE,
        facts(
            policy_host=policy_host(as_others=Fetch("192.0.2.80", "status", "status 403", 403, client="bare"))
        ),
    ),
    (Code.POLICY_NOT_THERE, WARNING, fetch("status", 404)),
    (Code.POLICY_REDIRECTED, WARNING, fetch("redirect", 301)),
    (Code.POLICY_FORBIDDEN, WARNING, fetch("status", 403)),
    (Code.POLICY_SERVER_ERROR, WARNING, fetch("status", 503)),
    (Code.POLICY_MEDIA_TYPE, WARNING, fetch("media-type")),
    (Code.POLICY_TOO_LARGE, WARNING, fetch("too-large")),
    (Code.STS_POLICY_FETCH_ERROR, WARNING, fetch("truncated")),
    (Code.STS_WEBPKI_INVALID, WARNING, fetch("certificate-expired")),
    (
        Code.POLICY_CERTIFICATE_EXPIRES,
        WARNING,
        facts(policy_host=policy_host(Fetch("192.0.2.80", body=POLICY, tls=tls("ends-soon", name=WEB)))),
    ),
    (Code.POLICY_CAA_FORBIDS, WARNING, facts(policy_host=policy_host(caa=found(WEB, "CAA", '0 issue ";"')))),
    (
        Code.STS_POLICY_INVALID,
        WARNING,
        facts(**serving(b"version: STSv1\nmode: Enforce\nmx: a.test\nmax_age: 9\n")),
    ),
    (Code.POLICY_MAX_AGE_SHORT, WARNING, facts(**serving(POLICY.replace(b"2419200", b"3600")))),
    (Code.POLICY_MAX_AGE_HIGH, WARNING, facts(**serving(POLICY.replace(b"2419200", b"99999999")))),
    (Code.POLICY_DUPLICATE_FIELD, WARNING, facts(**serving(POLICY + b"mode: none\n"))),
    (Code.POLICY_UNKNOWN_FIELD, NOTICE, facts(**serving(POLICY + b"note: x\n"))),
    (Code.POLICY_PATTERN_ODD, NOTICE, facts(**serving(POLICY + b"mx: *.example.test\n"))),
    (Code.POLICY_TESTING, NOTICE, facts(**serving(TESTING))),
    (Code.POLICY_NONE, NOTICE, facts(**serving(b"version: STSv1\nmode: none\nmax_age: 86400\n"))),
    (Code.MX_NOT_IN_POLICY, CRITICAL, facts(**serving(POLICY.replace(b"mx.example", b"mail.example")))),
    (Code.POLICY_PATTERN_UNUSED, NOTICE, facts(**serving(BOTH))),
    (Code.STARTTLS_NOT_SUPPORTED, CRITICAL, seen(extensions=("PIPELINING",), tls=None)),
    (Code.STARTTLS_REFUSED, CRITICAL, seen(starttls_reply="454 4.7.0 TLS not available", tls=None)),
    (Code.TLS_HANDSHAKE, CRITICAL, seen(tls_error="tls alert handshake failure", tls=None)),
    (Code.TLS_VERSION, CRITICAL, seen(tls_error="tls alert protocol version", tls=None)),
    (Code.TLS_OLD_VERSIONS, NOTICE, seen(depth=Depth((("TLSv1.1", "AES128-SHA"), ("TLSv1.3", "X"))))),
    (Code.STARTTLS_INJECTION, WARNING, seen(depth=Depth(accepts_injected=True))),
    (Code.CIPHER_NULL, WARNING, accepting(GOOD, "TLS_ECDHE_RSA_WITH_NULL_SHA")),
    (Code.CIPHER_EXPORT, WARNING, accepting(GOOD, "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA")),
    (Code.CIPHER_RC4, WARNING, accepting(GOOD, "TLS_ECDHE_RSA_WITH_RC4_128_SHA")),
    (Code.CIPHER_SMALL_BLOCKS, NOTICE, accepting(GOOD, "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA")),
    (Code.CIPHER_ANONYMOUS, NOTICE, accepting(GOOD, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA")),
    (Code.CIPHER_NO_FORWARD_SECRECY, NOTICE, accepting(GOOD, "TLS_RSA_WITH_AES_128_CBC_SHA")),
    (Code.CERTIFICATE_EXPIRED, CRITICAL, seen(tls=tls("expired", 10))),
    (Code.CERTIFICATE_NOT_YET_VALID, CRITICAL, seen(tls=tls("not-yet-valid", 9))),
    (Code.CERTIFICATE_HOST_MISMATCH, CRITICAL, seen(tls=tls("other-name"))),
    (Code.CERTIFICATE_COMMON_NAME_ONLY, CRITICAL, seen(tls=tls("common-name"))),
    (Code.CERTIFICATE_SELF_SIGNED, CRITICAL, seen(tls=tls("self-signed", 18))),
    (Code.CERTIFICATE_NOT_TRUSTED, CRITICAL, seen(tls=tls("untrusted", 20, 21))),
    (Code.CERTIFICATE_CHAIN_INCOMPLETE, CRITICAL, seen(tls=tls("no-intermediate", 20, 21))),
    (Code.CERTIFICATE_CHAIN_ORDER, NOTICE, seen(tls=tls("wrong-order"))),
    (Code.CERTIFICATE_TOO_WEAK, WARNING, seen(tls=tls("weak-key"))),
    (Code.CERTIFICATE_EXPIRES_SOON, WARNING, seen(tls=tls("ends-soon"))),
    (
        Code.MX_CONNECTION_REFUSED,
        WARNING,
        facts(hosts=(host(session(), session("2001:db8::25", reach=Reach.REFUSED, reason="refused")),)),
    ),
    (
        Code.DNSSEC_INVALID,
        CRITICAL,
        signed(signed_host("3 1 1 leaf", tlsa=(failed(f"_25._tcp.{MX}", "TLSA"),))),
    ),
    (Code.TLSA_MISMATCH, CRITICAL, signed(signed_host("3 1 1 wrong"))),
    (Code.TLSA_TRUST_ANCHOR_MISSING, CRITICAL, signed(signed_host("2 1 1 wrong"))),
    (Code.TLSA_COMBINATION_STALE, CRITICAL, signed(signed_host("3 1 1 leaf", "3 1 2 wrong"))),
    (Code.TLSA_INVALID, WARNING, signed(signed_host("1 1 1 leaf"))),
    (Code.TLSA_SOME_UNUSABLE, NOTICE, signed(signed_host("3 1 1 leaf", "0 1 1 leaf"))),
    (
        Code.TLSA_INSECURE,
        WARNING,
        facts(hosts=(host(tlsa=(found(f"_25._tcp.{MX}", "TLSA", f"3 1 1 {'00' * 32}"),)),)),
    ),
    (
        Code.TLSA_MISPLACED,
        WARNING,
        facts(elsewhere=(found(f"_25._tcp.{DOMAIN}", "TLSA", f"3 1 1 {'00' * 32}", is_secure=True),)),
    ),
    (Code.DANE_MX_INSECURE, WARNING, facts(hosts=(signed_host("3 1 1 leaf"),))),
    (
        Code.DANE_PARTIAL,
        WARNING,
        signed(signed_host("3 1 1 leaf"), signed_host(name="gone.example.test"), **serving(BOTH)),
    ),
    (Code.TLSRPT_MISSING, WARNING, facts(**reports())),
    (
        Code.TLSRPT_RECORD_MISPLACED,
        WARNING,
        facts(**reports(), elsewhere=(found(DOMAIN, "TXT", "v=TLSRPTv1; rua=mailto:a@b.test"),)),
    ),
    (
        Code.TLSRPT_SEVERAL,
        WARNING,
        facts(**reports("v=TLSRPTv1; rua=mailto:a@b.test", "v=TLSRPTv1; rua=mailto:a@c.test")),
    ),
    (Code.TLSRPT_SYNTAX, WARNING, facts(**reports("v=TLSRPTv1; rua=mailto:a@b.test!10m"))),
    (Code.TLSRPT_LOOKUP_FAILED, NOTICE, facts(tlsrpt=failed(f"_smtp._tls.{DOMAIN}", "TXT"))),
    (
        Code.TLSRPT_TARGET_TAKES_NO_MAIL,
        WARNING,
        facts(targets=(ReportTarget("mailto:a@b.test", "b.test", takes_reports=False, reason="null MX"),)),
    ),
    (
        Code.TLSRPT_TARGET_DEAD,
        WARNING,
        facts(targets=(ReportTarget("https://b.test/x", "b.test", takes_reports=False, reason="refused"),)),
    ),
    (
        Code.TLSRPT_TARGET_REFUSES,
        WARNING,
        facts(
            targets=(
                ReportTarget(
                    "https://b.test/x",
                    "b.test",
                    takes_reports=True,
                    took_trial=False,
                    trial="it answered 405",
                ),
            )
        ),
    ),
)
# what never comes alone
TOGETHER: tuple[tuple[Code, Severity, Facts, set[Code]], ...] = (
    (
        Code.MX_HOST_ADDRESS,
        WARNING,
        facts(hosts=(host(), replace(GONE, name="192.0.2.1"))),
        {Code.MX_NOT_IN_POLICY},
    ),
    (
        Code.MX_HOST_SYNTAX,
        WARNING,
        facts(hosts=(host(), host(session(tls=tls(name="mx_1.example.test")), name="mx_1.example.test"))),
        {Code.MX_NOT_IN_POLICY},
    ),
    (
        Code.TLSA_NAME_MISMATCH,
        CRITICAL,
        signed(signed_host("2 1 1 issuer", sessions=(session(tls=tls("other-name")),))),
        {Code.CERTIFICATE_HOST_MISMATCH},
    ),
    # RFC 7672 §2.2.2: a secure alias into an unsigned zone has its TLSA records at its own name
    (
        Code.TLSA_MISMATCH,
        CRITICAL,
        signed(signed_host("3 1 1 wrong", v4=replace(found(MX, "A", "192.0.2.25"), chain=("a.test",)))),
        {Code.MX_HOST_CNAME},
    ),
    (
        Code.TLSA_CHAIN_EXPIRED,
        CRITICAL,
        signed(signed_host("2 1 1 issuer", sessions=(session(tls=tls("expired", 10)),))),
        {Code.CERTIFICATE_EXPIRED},
    ),
    (
        Code.MX_ADDRESSES_DIFFER,
        WARNING,
        facts(hosts=(host(session(), session("2001:db8::25", tls=tls("expired", 10))),)),
        {Code.CERTIFICATE_EXPIRED},
    ),
)


def codes(seen_facts: Facts) -> set[Code]:
    return {finding.code for finding in run(seen_facts).findings}


def test_a_domain_as_it_should_be_has_no_finding() -> None:
    assert run(facts()).findings == ()
    assert run(signed(signed_host("3 1 1 leaf"))).findings == ()


@pytest.mark.parametrize("code, severity, case", CASES, ids=[code for code, _, _ in CASES])
def test_a_fault_is_found_and_nothing_else(code: Code, severity: Severity, case: Facts) -> None:
    found_ones = {(finding.code, finding.severity) for finding in run(case).findings}
    assert found_ones == {(code, severity)}


@pytest.mark.parametrize("code, severity, case, others", TOGETHER, ids=[row[0] for row in TOGETHER])
def test_a_fault_that_has_another_with_it(
    code: Code, severity: Severity, case: Facts, others: set[Code]
) -> None:
    assert (code, severity) in {(finding.code, finding.severity) for finding in run(case).findings}
    assert codes(case) == others | {code}


def test_every_code_has_its_facts_here() -> None:
    assert {row[0] for row in (*CASES, *TOGETHER)} | {row[1] for row in OVER_TIME} == set(Code)


@pytest.mark.parametrize("code", Code)
def test_every_code_is_explained(code: Code) -> None:
    entry = explain_finding(code)
    assert entry.code == code
    assert entry.meaning.endswith(".")
    assert len(entry.meaning) <= 260  # ten seconds
    assert 1 <= len(entry.steps) <= 5
    assert all(text.count("`") % 2 == 0 for text in (entry.meaning, entry.attack, *entry.steps))


def test_no_entry_is_of_a_code_that_is_not_there() -> None:
    assert set(CHECKS) == set(Code)
    assert set(RESULT_TYPES) <= set(Code)


@pytest.mark.parametrize("body, severity", [(POLICY, CRITICAL), (TESTING, WARNING)])
def test_what_costs_mail_under_enforce_only_warns_under_testing(body: bytes, severity: Severity) -> None:
    case = facts(hosts=(host(session(tls=tls("expired", 10))),), **serving(body))
    [finding] = [each for each in run(case).findings if each.code is Code.CERTIFICATE_EXPIRED]
    assert finding.severity is severity


def test_without_a_policy_a_bad_certificate_is_only_worth_knowing() -> None:
    case = facts(hosts=(host(session(tls=tls("self-signed", 18))),), **NOTHING)
    assert {each.severity for each in run(case).findings if each.code is Code.CERTIFICATE_SELF_SIGNED} == {
        NOTICE
    }


def test_with_usage_3_and_no_policy_the_certificate_may_be_as_it_likes() -> None:
    case = signed(signed_host("3 1 1 leaf", kind="self-signed"), **NOTHING)
    assert codes(case) == {Code.STS_ABSENT}


@pytest.mark.parametrize("reach", [Reach.SILENT, Reach.TURNED_AWAY])
def test_a_probe_that_was_blocked_or_turned_away_is_no_finding(reach: Reach) -> None:
    report = run(seen(reach=reach, reason="450 4.7.1 later", tls=None, extensions=()))
    assert report.findings == ()
    assert [each.about for each in report.unobserved] == [f"{MX} at 192.0.2.25"]


def test_without_a_validating_resolver_nothing_is_said_about_dane() -> None:
    report = run(facts(validates=False, hosts=(signed_host("3 1 1 wrong", v4=found(MX, "A", "192.0.2.25")),)))
    assert report.findings == ()
    assert report.unobserved[0].about == "DNSSEC and DANE"


@pytest.mark.parametrize(
    "authority, records, is_forbidden",
    [
        ("Let's Encrypt", ('0 issue "letsencrypt.org"',), False),
        ("Let's Encrypt", ('0 issue "LetsEncrypt.org; validationmethods=dns-01"',), False),
        ("Let's Encrypt", ('0 issue "digicert.com"',), True),
        ("Let's Encrypt", ('0 issue "digicert.com"', '0 issue "letsencrypt.org"'), False),
        ("Let's Encrypt", ('0 issuewild "digicert.com"', '0 iodef "mailto:a@b.test"'), False),
        ("Nobody Knows", ('0 issue "digicert.com"',), False),
        ("Nobody Knows", ('0 issue ";"',), True),
    ],
)
def test_caa_is_judged_where_the_authority_is_known(
    authority: str, records: tuple[str, ...], is_forbidden: bool
) -> None:
    certificate = issue_by(authority, WEB).certificates[0].public_bytes(Encoding.DER)
    served = Fetch("192.0.2.80", body=POLICY, tls=replace(tls(), chain=(certificate,)))
    case = facts(policy_host=policy_host(served, caa=found(WEB, "CAA", *records)))
    assert codes(case) == ({Code.POLICY_CAA_FORBIDS} if is_forbidden else set())


def test_a_certificate_that_cannot_be_read_is_not_trusted() -> None:
    strange = replace(tls(), chain=(b"\x30\x03abc", *tls().chain))
    assert codes(seen(tls=strange)) == {Code.CERTIFICATE_NOT_TRUSTED}


@pytest.mark.parametrize("unfinished, severity", [("", WARNING), ("turned away", NOTICE)])
def test_nothing_but_suites_without_forward_secrecy_is_worse(unfinished: str, severity: Severity) -> None:
    case = accepting("TLS_RSA_WITH_AES_128_CBC_SHA", unfinished=unfinished)
    report = run(case)
    assert [(each.code, each.severity) for each in report.findings] == [
        (Code.CIPHER_NO_FORWARD_SECRECY, severity)
    ]
    assert [each.reason for each in report.unobserved] == ([unfinished] if unfinished else [])


@pytest.mark.parametrize(
    "first, other, expected",
    [
        (
            Fetch("192.0.2.80", "status", "403", 403),
            Fetch("192.0.2.80", body=POLICY),
            Code.POLICY_CLIENT_DIFFERS,
        ),
        (
            Fetch("192.0.2.80", "status", "403", 403),
            Fetch("192.0.2.80", "status", "403", 403),
            Code.POLICY_FORBIDDEN,
        ),
        (Fetch("192.0.2.80", body=POLICY), Fetch("192.0.2.80", body=TESTING), Code.POLICY_CLIENT_DIFFERS),
        (Fetch("192.0.2.80", body=POLICY), Fetch("192.0.2.80", body=POLICY), None),
        (Fetch("192.0.2.80", body=POLICY), Fetch("192.0.2.80", "unobserved"), None),
    ],
)
def test_who_asks_should_make_no_difference(first: Fetch, other: Fetch, expected: Code | None) -> None:
    case = facts(policy_host=policy_host(first, as_others=replace(other, client="like a browser")))
    assert codes(case) == ({expected} if expected else set())


def test_a_deep_look_at_a_good_server_finds_nothing() -> None:
    good = Depth((("TLSv1.2", "ECDHE"), ("TLSv1.3", "X")), accepts_injected=False)
    assert codes(seen(depth=good)) == set()


def test_a_server_that_goes_on_in_the_clear_has_no_old_tls_but_none() -> None:
    assert codes(seen(tls_error="wrong version number", tls=None)) == {Code.TLS_HANDSHAKE}


@pytest.mark.parametrize("error", ["connect", "certificate-name", "status"])
def test_a_web_server_at_a_wildcard_is_no_broken_policy_host(error: str) -> None:
    web = policy_host(Fetch("192.0.2.80", error, "in words", 404))
    assert codes(facts(**record(), policy_host=web)) == {Code.STS_ABSENT}


def test_one_fault_at_three_addresses_is_one_finding_with_three_pieces_of_evidence() -> None:
    addresses = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
    sessions = [session(address, extensions=(), tls=None) for address in addresses]
    [finding] = run(facts(hosts=(host(*sessions),))).findings
    assert [each.partition(":")[0] for each in finding.evidence] == [*addresses]
