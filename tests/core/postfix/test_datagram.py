import json
from pathlib import Path

import pytest

from mailward.core.postfix.datagram import MAX_DATAGRAM_BYTES, DatagramError, Session, read_datagram
from mailward.core.tlsrpt.schema import FailureDetail, Policy

SAMPLES = Path(__file__).parents[2] / "fixtures" / "datagrams"
CORPUS = Path(__file__).parents[4] / "shared/corpus/postfix-datagrams"
LINES = ("version: STSv1", "mode: enforce", "mx: mx.sts.test", "max_age: 604800")
STS = Policy(policy_type="sts", policy_domain="sts.test", policy_string=LINES, mx_host=("mx.sts.test",))


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def datagram(policy: dict[str, object] | None = None, **changes: object) -> bytes:
    policies = [{"policy-type": 9, "policy-domain": "a.test", "t": 0, "f": 0} | (policy or {})]
    wire = {"dpv": "1", "d": "a.test", "pr": "v=TLSRPTv1; rua=mailto:a@a.test", "policies": policies}
    return json.dumps(wire | changes).encode()


def detail(**fields: object) -> FailureDetail:
    [session] = read_datagram(datagram({"failure-details": [{"c": 205} | fields], "f": 1})).sessions
    return session.details[0]


@pytest.mark.parametrize(
    ("name", "policy_type", "failures"),
    [
        ("none-success-plain", "no-policy-found", None),
        ("sts-fail-201-attacker-stripped-starttls", "sts", "starttls-not-supported"),
        ("sts-fail-201-nostarttls", "sts", "starttls-not-supported"),
        ("sts-fail-202-wronghost", "sts", "certificate-host-mismatch"),
        ("sts-fail-204-expired", "sts", "certificate-expired"),
        ("sts-fail-205-hsfail", "sts", "validation-failure"),
        ("sts-fail-205-selfsigned", "sts", "validation-failure"),
        ("sts-fail-301-fetcherr", "sts", "sts-policy-fetch-error"),
        ("sts-success-fetcherr", "sts", None),
        ("sts-success-sts", "sts", None),
        ("sts-success-testmode", "sts", None),
        ("tlsa-fail-203-danebad", "tlsa", "certificate-not-trusted"),
        ("tlsa-success-dane", "tlsa", None),
        ("tlsproxy-sts-fail-204-expired", "sts", "certificate-expired"),
    ],
)
def test_what_postfix_3_10_sends_is_read(name: str, policy_type: str, failures: str | None) -> None:
    [session] = read_datagram(sample(name)).sessions
    assert session.policy.policy_type == policy_type
    assert session.has_failed == (failures is not None)
    assert [each.result_type for each in session.details] == ([failures] if failures else [])


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real datagrams is not beside this checkout")
def test_what_a_real_postfix_sent_is_read_as_its_name_says() -> None:
    paths = sorted(CORPUS.glob("*.json"))
    assert len(paths) >= 14
    for path in paths:
        [session] = read_datagram(path.read_bytes()).sessions
        assert session.has_failed == ("-fail-" in path.name), path.name
        kind = path.name.removeprefix("tlsproxy-").split("-")[0]
        assert session.policy.policy_type == {"none": "no-policy-found"}.get(kind, kind)


def test_every_sample_is_in_the_table_above() -> None:
    assert len(list(SAMPLES.glob("*.json"))) == 14


def test_a_failure_in_full() -> None:
    found = read_datagram(sample("sts-fail-201-attacker-stripped-starttls"))
    failure = FailureDetail(
        result_type="starttls-not-supported",
        sending_mta_ip="192.0.2.10",
        receiving_mx_hostname="mx.sts.test",
        receiving_mx_helo="mx.sts.test",
        receiving_ip="192.0.2.25",
    )
    assert found.domain == "sts.test"
    assert found.record == "v=TLSRPTv1; rua=mailto:tls-reports@sts.test"
    assert found.sessions == (Session(STS, True, (failure,)),)


def test_a_session_can_end_well_after_a_failure() -> None:
    [session] = read_datagram(datagram({"failure-details": [{"c": 301}], "t": 1})).sessions
    assert not session.has_failed
    assert [each.result_type for each in session.details] == ["sts-policy-fetch-error"]


@pytest.mark.parametrize("version", [{}, {"dpv": "1"}, {"dpv": 1}, {"dpv": None}])
def test_the_version_is_1_or_not_said(version: dict[str, object]) -> None:
    wire = json.loads(datagram())
    del wire["dpv"]
    assert read_datagram(json.dumps(wire | version).encode()).domain == "a.test"


def test_the_policy_domain_is_the_domain_where_postfix_leaves_it_out() -> None:
    [session] = read_datagram(datagram({"policy-domain": None})).sessions
    assert session.policy.policy_domain == "a.test"


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ("A.Test.", "a.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("xn--BCHER-kva.TEST", "xn--bcher-kva.test"),
    ],
)
def test_domains_are_a_labels_in_lower_case(written: str, domain: str) -> None:
    found = read_datagram(datagram({"policy-domain": written}, d=written))
    assert (found.domain, found.sessions[0].policy.policy_domain) == (domain, domain)


def test_a_code_that_nobody_knows_is_a_failure_all_the_same() -> None:
    assert (detail(c=901).result_type, detail(c=901).failure_reason_code) == (
        "validation-failure",
        "libtlsrpt-code-901",
    )
    assert detail(c=42, f="why").failure_reason_code == "libtlsrpt-code-42:why"


@pytest.mark.parametrize(
    ("reply", "greeting"),
    [
        ("250-mx.a.test\r\n250-SIZE 1\r\n250 HELP", "mx.a.test"),
        ("250 mx.a.test at your service", "mx.a.test at your service"),
        ("mx.a.test", "mx.a.test"),
        ("250-" + "x" * 300_00, "x" * 255),
        ("250-\r\n250 x", None),
        ("", None),
    ],
)
def test_of_a_greeting_its_first_line_is_kept(reply: str, greeting: str | None) -> None:
    assert detail(h=reply).receiving_mx_helo == greeting


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    raw = sample("sts-fail-204-expired").replace(b"250-mx.expired.test", b"250-mx\xff\xc3.test")
    [session] = read_datagram(raw).sessions
    assert session.details[0].receiving_mx_helo == "mx\ufffd\ufffd.test"


@pytest.mark.parametrize(
    ("written", "address"),
    [("2001:DB8:0::1", "2001:db8::1"), ("192.0.2.1", "192.0.2.1"), ("IPv6:::1", None), ("x" * 9999, None)],
)
def test_addresses_are_written_as_rfc_5952_says(written: str, address: str | None) -> None:
    assert (detail(s=written).sending_mta_ip, detail(r=written).receiving_ip) == (address, address)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "damaged"),
        (b"junk", "damaged"),
        (b'{"d":"a.test"', "damaged"),
        (b"[" * 100_000, "damaged"),
        (b'{"dpv":' * 30_000, "damaged"),
        (b"\xff" * 1000, "damaged"),
        (datagram(policies=[]), "damaged"),
        (datagram({"f": None}), "damaged"),
        (datagram(pr=7), "damaged"),
        (datagram({"failure-details": [{"c": 201}] * 33}), "damaged"),
        (datagram(dpv="2"), "version"),
        (b'{"dpv":"2","sessions":[]}', "version"),
        (datagram(d="-"), "domain"),
        (datagram(d=""), "domain"),
        (datagram(d="a" * 5000), "domain"),
        (datagram({"policy-type": 3}), "policy-type"),
        (b" " * (MAX_DATAGRAM_BYTES + 1), "too-large"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(raw: bytes, code: str) -> None:
    with pytest.raises(DatagramError) as caught:
        read_datagram(raw)
    assert caught.value.code == code
    assert 10 < len(str(caught.value)) <= 250
