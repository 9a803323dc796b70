"""Each failure that a sender can report has one explanation, and the same event always the same one."""

import re

import pytest

from mailward.core.explain.catalogue import EXPLANATIONS, Severity, explain_policy_type, explain_result
from mailward.core.explain.explanation import DOMAIN, MX_HOST
from mailward.core.explain.policies import explain_consequence, explain_standing
from mailward.core.explain.rules import RULES
from mailward.core.tlsrpt.results import POLICY_HOST_RESULTS, ResultType
from mailward.core.tlsrpt.schema import PolicyType


@pytest.mark.parametrize("result_type", ResultType)
def test_each_result_type_has_an_entry_of_its_own(result_type: ResultType) -> None:
    assert explain_result(result_type).code == result_type


@pytest.mark.parametrize("policy_type", PolicyType)
def test_each_policy_type_has_an_entry_of_its_own(policy_type: PolicyType) -> None:
    assert explain_policy_type(policy_type).code == policy_type


@pytest.mark.parametrize("code", EXPLANATIONS)
def test_each_entry_is_complete_and_short(code: str) -> None:
    entry = EXPLANATIONS[code]
    assert entry.title
    assert entry.clause
    assert not entry.clause.endswith(".")
    assert entry.meaning.endswith(".")
    assert len(entry.meaning) <= 260  # ten seconds
    assert 1 <= len(entry.steps) <= 5
    assert re.fullmatch(r"RFC \d{4} section [\d.]+(?:; RFC \d{4} section [\d.]+)*", entry.section)


@pytest.mark.parametrize("code", EXPLANATIONS)
def test_commands_stand_in_closed_backticks(code: str) -> None:
    entry = EXPLANATIONS[code]
    assert all(text.count("`") % 2 == 0 for text in (entry.meaning, entry.attack, *entry.steps))


def test_codes_are_unique_among_different_entries() -> None:
    entries = {id(rule.entry): rule.entry for rule in RULES}
    assert all(EXPLANATIONS[entry.code] is entry for entry in entries.values())


# one event per row, in the words of those who send it
SAME_EVENT = [
    ("certificate-expired", "certificate-expired", None, "sts", "the standard's own name"),
    ("validation-failure", "certificate-expired", "X509_V_ERR_CERT_HAS_EXPIRED", "sts", "OpenSSL's constant"),
    (
        "certificate-not-trusted",
        "certificate-expired",
        "certificate has expired",
        "sts",
        "OpenSSL's sentence",
    ),
    (
        "certificate-not-trusted",
        "certificate-expired",
        "x509: certificate has expired or is not yet valid: current time 2026-01-01",
        "sts",
        "Go says both; expired is far likelier",
    ),
    ("validation-failure", "certificate-not-yet-valid", "X509_V_ERR_CERT_NOT_YET_VALID", "sts", "OpenSSL"),
    ("validation-failure", "certificate-self-signed", "self-signed_certificate", "sts", "Postfix"),
    (
        "certificate-not-trusted",
        "certificate-self-signed",
        "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT",
        "sts",
        "",
    ),
    (
        "certificate-not-trusted",
        "certificate-chain-incomplete",
        "x509: certificate signed by unknown authority",
        "sts",
        "Go (mox)",
    ),
    (
        "validation-failure",
        "certificate-chain-incomplete",
        "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
        "sts",
        "OpenSSL",
    ),
    ("certificate-not-trusted", "certificate-not-trusted", None, "sts", "no reason: nothing finer is known"),
    ("certificate-not-trusted", "tlsa-mismatch", None, "tlsa", "DANE knows no authorities (Postfix)"),
    ("validation-failure", "tlsa-mismatch", "dane-no-match", "tlsa", "mox"),
    (
        "validation-failure",
        "validation-failure",
        "something",
        "tlsa",
        "DANE alone does not make it a mismatch",
    ),
    ("validation-failure", "tlsa-invalid", "all-TLSA-records-unusable", "tlsa", "Postfix"),
    ("validation-failure", "tlsa-invalid", "all-unusable-records+ignored", "tlsa", "mox"),
    ("validation-failure", "mx-not-in-policy", "mtasts-policy-mx-mismatch", "sts", "mox"),
    ("validation-failure", "certificate-host-mismatch", "X509_V_ERR_HOSTNAME_MISMATCH", "sts", "OpenSSL"),
    ("validation-failure", "tls-handshake", "tls-handshake-failure", "sts", "Postfix, mox"),
    ("validation-failure", "tls-handshake", "tls-remote-40", "sts", "mox, the peer's alert"),
    ("validation-failure", "tls-handshake", "tls handshake: EOF", "sts", "Go"),
    ("validation-failure", "tls-version", "tls: protocol version not supported", "sts", "Go"),
    ("validation-failure", "connection-broken", "connection timed out", "sts", "transient, section 4.3.4"),
    ("validation-failure", "validation-failure", None, "sts", ""),
    ("starttls-not-supported", "starttls-refused", "454 4.7.0 TLS not available", "sts", "an answer of 454"),
    (
        "starttls-not-supported",
        "starttls-not-supported",
        "certificate has expired",
        "sts",
        "type wins over noise",
    ),
    (
        "certificate-expired",
        "certificate-expired",
        "bad https response code: 404",
        "sts",
        "type wins over noise",
    ),
    (
        "sts-policy-fetch-error",
        "policy-not-there",
        "bad https response code: 404",
        "no-policy-found",
        "Mail.ru",
    ),
    ("sts-policy-fetch-error", "policy-server-error", "bad https response code: 500", "sts", "Mail.ru"),
    ("sts-policy-fetch-error", "policy-forbidden", "HTTP status 403", "sts", "a bot filter"),
    ("sts-policy-fetch-error", "policy-redirected", "bad https response code: 301", "sts", "Mail.ru"),
    ("sts-policy-fetch-error", "policy-host-not-in-dns", "lookup mta-sts.x: no such host", "sts", "Go"),
    ("sts-policy-fetch-error", "policy-host-unreachable", "dial tcp 192.0.2.1:443: i/o timeout", "sts", "Go"),
    (
        "sts-policy-fetch-error",
        "sts-webpki-invalid",
        "x509: certificate signed by unknown authority",
        "sts",
        "",
    ),
    ("sts-policy-fetch-error", "policy-media-type", "unexpected content-type text/html", "sts", ""),
    ("sts-policy-fetch-error", "sts-policy-fetch-error", None, "sts", ""),
    ("sts-webpki-invalid", "sts-webpki-invalid", "certificate has expired", "sts", "policy host, never MX"),
    ("certificate-not-trusted", "certificate-revoked", "certificate revoked", "sts", "OpenSSL"),
    ("certificate-not-trusted", "certificate-too-weak", "X509_V_ERR_EE_KEY_TOO_SMALL", "sts", "OpenSSL"),
    ("validation-failure", "dnssec-invalid", "DNSSEC bogus", "tlsa", ""),
    ("made-up", "unknown", "certificate has expired", "sts", "no type, no promise"),
    (None, "unknown", None, None, ""),
]


@pytest.mark.parametrize(("result_type", "code", "reason", "policy_type", "why"), SAME_EVENT)
def test_one_event_has_one_explanation(
    result_type: str | None, code: str, reason: str | None, policy_type: str | None, why: str
) -> None:
    assert explain_result(result_type, policy_type=policy_type, reason=reason).code == code, why


def test_no_entry_is_without_use() -> None:
    reached = {explain_result(row[0], policy_type=row[3], reason=row[2]).code for row in SAME_EVENT}
    reached |= {explain_result(each).code for each in ResultType}
    reached |= {explain_policy_type(each).code for each in (*PolicyType, "made-up")}
    assert reached == set(EXPLANATIONS)


def test_what_costs_mail_under_enforce_only_warns_under_testing() -> None:
    severities = [
        explain_result("certificate-expired", policy_type="sts", mode=mode).severity
        for mode in ("enforce", "testing", "none", None)
    ]
    assert severities == [Severity.CRITICAL, Severity.WARNING, Severity.WARNING, Severity.CRITICAL]
    assert explain_result("certificate-expired", policy_type="no-policy-found").severity is Severity.WARNING


def test_the_consequence_says_what_happened_to_the_mail() -> None:
    critical = Severity.CRITICAL
    assert "was not delivered" in explain_consequence("sts", "enforce", critical)
    assert "was delivered all the same" in explain_consequence("sts", "testing", critical)
    assert "was not delivered" in explain_consequence("tlsa", None, critical)
    assert explain_consequence("sts", "enforce", Severity.WARNING) == ""
    assert explain_consequence(None, None, critical) == ""


def test_what_a_failure_does_now_follows_from_the_policy_served() -> None:
    assert "do not deliver there" in explain_standing("certificate-expired", "enforce")
    assert "deliver all the same" in explain_standing("certificate-expired", "testing")
    assert "no policy in force" in explain_standing("starttls-not-supported", None)
    assert explain_standing("dane-required", "testing") == "", "DANE asks no MTA-STS policy"
    assert explain_standing("sts-policy-invalid", "enforce") == "", "whoever cannot read it cannot follow it"


@pytest.mark.parametrize("code", EXPLANATIONS)
def test_names_replace_every_placeholder(code: str) -> None:
    filled = EXPLANATIONS[code].filled(mx="mx1.example.com", domain="example.com")
    texts = " ".join((filled.clause, filled.meaning, filled.attack, *filled.steps))
    assert MX_HOST not in texts
    assert DOMAIN not in texts


@pytest.mark.parametrize("code", EXPLANATIONS)
def test_prose_reads_well_without_names(code: str) -> None:
    filled = EXPLANATIONS[code].filled()
    assert not re.search(
        r"MX_HOST|DOMAIN|mta-sts\.", " ".join((filled.clause, filled.meaning, filled.attack))
    )
    assert not filled.meaning.startswith("an ")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mx.example.com; rm -rf /", "a second command"),
        ("$(id).example.com", "a substitution"),
        ("`id`", "a substitution"),
        ("-rf.example.com", "an option"),
        ("mx.example.com\n", "a line end"),
        ("mx|sh", "a pipe"),
        ("mx\u202ecom", "right to left"),
        ("a" * 254, "longer than a name can be"),
        ("", "nothing"),
    ],
)
def test_r5_a_name_that_is_no_host_name_never_reaches_a_command(name: str, why: str) -> None:
    entry = explain_result("certificate-expired")
    assert entry.filled(mx=name, domain=name) == entry.filled(), why


def test_policy_host_failures_are_explained_with_the_policy_host() -> None:
    for result_type in POLICY_HOST_RESULTS:
        filled = explain_result(result_type).filled(mx="mx1.example.com", domain="example.com")
        assert "mx1.example.com" not in filled.meaning
