"""What only shows over time: each case a row of days, each day the facts of a check."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.core.check.made import (
    DOMAIN,
    MX,
    NOW,
    POLICY,
    TESTING,
    absent,
    authority,
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
from tests.zoo.certs import Chain, issue_by, tlsa

from mailward.core.check.codes import Code
from mailward.core.check.document import build_document
from mailward.core.check.facts import Facts, Fetch
from mailward.core.check.history import History, judge_history, make_moment
from mailward.core.check.run import run
from mailward.core.check.schema import DocumentUnreadable, Moment, read_moment
from mailward.core.explain.explanation import Severity

NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL
WEEKS = 2419200  # max_age of POLICY, in seconds
WEB = f"mta-sts.{DOMAIN}"
OTHER = POLICY.replace(b"mx.example", b"mx2.example")
WIDER = POLICY + b"mx: mx2.example.test\n"
ONE, TWO = record("v=STSv1; id=1;"), record("v=STSv1; id=2;")
GONE = record() | {"policy_host": policy_host(v4=absent(WEB, "A"), fetches=())}
DANGLING = record() | {"policy_host": policy_host(v4=absent(WEB, "A", chain=("gone.test",)), fetches=())}

Days = dict[float, Facts]
"""Facts by how many days ago they were seen; 0 is now."""


def day(**changes: Any) -> Facts:
    return facts(**changes)


def history(days: Days) -> History:
    moments = [at(seen, ago) for ago, seen in days.items()]
    return judge_history(moments[:-1], moments[-1])


def at(seen: Facts, ago: float) -> Moment:
    return make_moment(replace(seen, at=NOW - timedelta(days=ago)))


def presenting(made: Chain, *records: str) -> Facts:
    """An MX host with that chain, and these TLSA records, signed."""
    ders = tuple(each.public_bytes(Encoding.DER) for each in made.certificates)
    seen = session(tls=replace(tls(), chain=ders))
    lookup = found(f"_25._tcp.{MX}", "TLSA", *records, is_secure=True)
    return signed(signed_host(sessions=(seen,), tlsa=(lookup,)))


def issue() -> Chain:
    return authority().issue("good", MX)


def of(made: Chain, head: str = "3 1 1") -> str:
    return tlsa(f"{head} leaf", made, authority().intermediate.certificate)


OLD = authority().issue("expired", MX)  # begins before those that are good
NEW, NEXT = issue(), issue()
SOON = authority().issue("ends-soon", MX)
FIRST, SECOND = (issue_by(name, WEB).certificates[0].public_bytes(Encoding.DER) for name in ("One", "Two"))


STRANGER = host(session(tls=tls("untrusted")))


def issued(der: bytes) -> Facts:
    return facts(policy_host=policy_host(Fetch("192.0.2.80", body=POLICY, tls=replace(tls(), chain=(der,)))))


CASES: tuple[tuple[str, Code, Severity, Days], ...] = (
    (
        "the policy changed two days ago",
        Code.STS_ID_UNCHANGED,
        WARNING,
        {9: day(**ONE), 2: day(**ONE, **serving(WIDER)), 0: day(**ONE, **serving(WIDER))},
    ),
    (
        "the policy has just changed, the id may follow",
        Code.STS_ID_UNCHANGED,
        NOTICE,
        {9: day(**ONE), 0: day(**ONE, **serving(WIDER))},
    ),
    (
        "the id first, the policy a day later",
        Code.STS_ID_BEFORE_POLICY,
        WARNING,
        {9: day(**ONE), 2: day(**TWO), 1: day(**TWO, **serving(WIDER)), 0: day(**TWO, **serving(WIDER))},
    ),
    ("a new id and nothing else", Code.STS_ID_CHANGED_ALONE, NOTICE, {9: day(**ONE), 0: day(**TWO)}),
    ("record and policy are gone", Code.POLICY_REMOVED, WARNING, {9: day(), 0: day(**GONE)}),
    (
        "the policy changed under its id, and senders hold the one without the new MX host",
        Code.MX_NOT_IN_OLD_POLICY,
        WARNING,
        {
            3: day(**ONE, **serving(OTHER)),
            2: day(**ONE, **serving(OTHER)),
            0: day(**ONE),
        },
    ),
    (
        "the policy host is down since the MX host changed",
        Code.MX_NOT_IN_OLD_POLICY,
        CRITICAL,
        {3: day(**serving(OTHER)), 0: day(policy_host=policy_host(Fetch("192.0.2.80", "connect", "refused")))},
    ),
    (
        "the record is gone, the alias is left behind",
        Code.POLICY_HOST_DANGLING,
        WARNING,
        {3: day(**serving(TESTING)), 0: day(**DANGLING)},
    ),
    (
        "the policy host's authority changed",
        Code.CERTIFICATE_ISSUER_CHANGED,
        NOTICE,
        {3: issued(FIRST), 2: issued(FIRST), 0: issued(SECOND)},
    ),
    (
        "the MX host's authority changed a week ago",
        Code.CERTIFICATE_ISSUER_CHANGED,
        NOTICE,
        {9: day(), 7: day(hosts=(STRANGER,)), 0: day(hosts=(STRANGER,))},
    ),
    (
        "the key changed at the last renewal, and the record only after it",
        Code.TLSA_NEXT_RENEWAL,
        WARNING,
        {30: presenting(OLD, of(OLD)), 0: presenting(NEW, of(NEW))},
    ),
    (
        "the record holds the whole certificate",
        Code.TLSA_NEXT_RENEWAL,
        NOTICE,
        {0: presenting(NEW, of(NEW, "3 0 1"))},
    ),
    (
        "the same, and the certificate ends soon",
        Code.TLSA_NEXT_RENEWAL,
        WARNING,
        {0: presenting(SOON, of(SOON, "3 0 1"))},
    ),
)  # fmt: skip
QUIET: tuple[tuple[str, Days], ...] = (
    ("nothing changed", {9: day(), 1: day(), 0: day()}),
    ("the policy, then the id", {9: day(**ONE), 1: day(**ONE, **serving(WIDER)), 0: day(**TWO, **serving(WIDER))}),
    ("both at once", {9: day(**ONE), 0: day(**TWO, **serving(WIDER))}),
    ("line ends are no change", {9: day(**ONE), 0: day(**ONE, **serving(POLICY.replace(b"\n", b"\r\n")))}),
    ("an id that changed alone, long ago", {90: day(**ONE), 60: day(**TWO), 0: day(**TWO)}),
    (
        "servers that disagree say nothing about the id",
        {
            9: day(**ONE),
            0: day(
                **ONE, policy_host=policy_host(Fetch("192.0.2.80", body=WIDER), Fetch("192.0.2.81", body=POLICY))
            ),
        },
    ),
    ("removed when all copies had ended", {29: day(), 0: day(**GONE)}),
    ("a policy in testing that was removed", {9: day(**serving(TESTING)), 0: day(**GONE)}),
    ("a record that could not be looked up is not gone", {9: day(), 0: day(sts=failed("_mta-sts", "TXT"))}),
    ("a new policy for a new MX host, with its id", {9: day(**ONE, **serving(OTHER)), 0: day(**TWO)}),
    ("an alias that dangled before there was a policy", {9: day(**DANGLING), 0: day(**DANGLING)}),
    (
        "a record for the next key, published before the renewal",
        {30: presenting(OLD, of(OLD), of(NEW)), 0: presenting(NEW, of(NEW))},
    ),
    (
        "the renewal broke it once, and now the next stands ready",
        {30: presenting(OLD, of(OLD)), 0: presenting(NEW, of(NEW), of(NEXT))},
    ),
    (
        "records of SHA-512 cannot be compared, and are not accused",
        {30: presenting(OLD, of(OLD, "3 1 2")), 0: presenting(NEW, of(NEW, "3 1 2"))},
    ),
)  # fmt: skip


@pytest.mark.parametrize("words, code, severity, days", CASES, ids=[row[0] for row in CASES])
def test_what_time_shows_is_found(words: str, code: Code, severity: Severity, days: Days) -> None:
    findings = history(days).findings
    assert (code, severity) in {(each.code, each.severity) for each in findings}, findings
    assert all(each.evidence for each in findings)


@pytest.mark.parametrize("words, days", QUIET, ids=[row[0] for row in QUIET])
def test_what_is_no_fault_is_not_found(words: str, days: Days) -> None:
    assert history(days).findings == ()


def test_cases_find_nothing_else_but_what_goes_with_them() -> None:
    together = {(Code.STS_ID_UNCHANGED, Code.MX_NOT_IN_OLD_POLICY)}
    for words, code, _, days in CASES:
        others = {each.code for each in history(days).findings} - {code}
        assert all((other, code) in together for other in others), (words, others)


def test_the_longest_max_age_and_the_last_copy_are_told() -> None:
    long = serving(POLICY.replace(b"2419200", b"31557600"))
    told = history({40: day(**ONE, **long), 20: day(**TWO), 0: day(**TWO)})
    assert (told.checks, told.longest_max_age) == (2, 31557600)
    assert told.since == NOW - timedelta(days=40)
    assert told.copies_until == NOW - timedelta(days=40) + timedelta(seconds=31557600)


def test_a_copy_lives_a_year_at_most() -> None:
    told = history({1: day(**serving(POLICY.replace(b"2419200", b"9999999999"))), 0: day()})
    assert told.longest_max_age == 31557600


def test_a_renewal_that_keeps_the_key_breaks_nothing() -> None:
    before, now = at(presenting(OLD, of(NEW)), 30), at(presenting(NEW, of(NEW)), 0)
    tls_before, tls_now = (each.facts.hosts[0].sessions[0].tls for each in (before, now))
    assert tls_before is not None
    assert tls_now is not None
    tls_before.chain[0] = msgspec.structs.replace(tls_before.chain[0], key_sha256=tls_now.chain[0].key_sha256)
    assert judge_history([before], now).findings == ()


def test_a_max_age_without_end_in_an_old_document_is_a_year() -> None:
    endless = at(day(**TWO), 1)
    assert endless.facts.policy is not None
    facts_of_then = msgspec.structs.replace(
        endless.facts, policy=msgspec.structs.replace(endless.facts.policy, max_age=10**30)
    )
    moments = [at(day(**ONE), 9), msgspec.structs.replace(endless, facts=facts_of_then)]
    told = judge_history(moments, at(day(**TWO, **serving(WIDER)), 0))
    assert told.longest_max_age == 31557600


def test_others_do_not_count() -> None:
    now = at(day(**TWO), 0)
    dry = at(replace(day(**ONE), supposed=("this policy is served",)), 1)
    foreign = msgspec.structs.replace(at(day(**ONE), 1), domain="other.test")
    later = at(day(**ONE), -1)
    assert judge_history([dry, foreign, later], now).checks == 0


def test_a_report_has_these_findings_among_its_own() -> None:
    report = run(facts(**TWO), [at(day(**ONE), 3)])
    assert [each.code for each in report.findings] == [Code.STS_ID_CHANGED_ALONE]
    assert build_document(report)["history"] == {
        "checks": 1,
        "since": (NOW - timedelta(days=3)).isoformat(timespec="seconds"),
        "longest_max_age": WEEKS,
        "copies_until": (NOW + timedelta(seconds=WEEKS)).isoformat(timespec="seconds"),
    }


def test_documents_are_read_as_they_were_written() -> None:
    seen = signed(signed_host("3 1 1 leaf"))
    document = build_document(run(seen))
    moment = read_moment(msgspec.json.encode(document))
    assert moment == read_moment(document)
    assert moment.at == NOW.replace(microsecond=0)
    assert (moment.domain, moment.facts) == (DOMAIN, make_moment(seen).facts)
    assert moment.facts.sts_id == "1"


def test_a_document_without_fields_that_came_later_is_read() -> None:
    document: dict[str, Any] = build_document(run(facts()))
    del document["history"], document["facts"]["sts_id"]
    for certificate in document["facts"]["hosts"][0]["sessions"][0]["tls"]["chain"]:
        del certificate["sha256"], certificate["key_sha256"]
    moment = read_moment(document)
    assert judge_history([moment], at(facts(), -1)).findings == ()


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "no document"),
        (b"\xff\xfe", "no document"),
        (b"[" * 100_000, "no document"),
        (b'{"format": 1}', "no document"),
        (b'{"format": 2}', "no document"),
        (b" " * (16 * 1024 * 1024 + 1), "larger than"),
    ],
)
def test_what_is_no_document_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(DocumentUnreadable, match=words):
        read_moment(text)


def test_a_time_without_zone_is_refused() -> None:
    document = build_document(run(facts()))
    document["at"] = datetime(2026, 11, 29, 12, 0).isoformat()  # noqa: DTZ001
    with pytest.raises(DocumentUnreadable, match="timezone"):
        read_moment(document)


def test_names_in_old_documents_cannot_make_work_without_end() -> None:
    moments = [at(day(**(ONE if number % 2 else TWO)), 3000 - number) for number in range(3000)]
    assert history({0: day()}).checks == 0
    assert judge_history(moments, at(day(), 0)).checks == 3000
