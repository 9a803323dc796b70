"""What destinations of a log would have met, and why."""

import pytest
from tests.sender.lab import DOMAIN, Lab

from mailward.core.names import Domain
from mailward.core.sending.facts import Decision, Level, Row
from mailward.sender import observed as limits
from mailward.sender.daemon import make_sender_resolver
from mailward.sender.observed import Observed
from mailward.sender.replay import Met, Outcome, Overlay, judge, judge_shadowed, make_answers, replay
from mailward.sender.shadow import Shadowed
from mailward.sender.sqlite import SqliteCache

NAME = Domain(DOMAIN)
HEAD = "2026-11-27T22:40:16Z sender postfix/smtp[8495]: "
SECURE = Decision(Row.STS_ENFORCE, "", Level.SECURE, match=("mx.example.test",))
DANE = Decision(Row.DANE_FULL, "", Level.DANE_ONLY)


def sent(relay: str = "mx.example.test", domain: str = DOMAIN, status: str = "sent") -> str:
    return f"{HEAD}053D2220630: to=<a@{domain}>, relay={relay}[192.0.2.1]:25, delay=1, dsn=2.0.0, status={status} (x)"


def tls(trust: str, relay: str = "mx.example.test") -> str:
    return f"{HEAD}{trust} TLS connection established to {relay}[192.0.2.1]:25: TLSv1.3 with"


def observe(*lines: str) -> Observed:
    seen = Observed()
    for line in lines:
        seen.add(line)
    return seen


ELSEWHERE = tls("Trusted", "else.test")
JUDGED = [
    ([sent(), tls("Trusted")], SECURE, "protected", "trusted authority; the name was not looked at"),
    ([sent(), tls("Verified")], SECURE, "protected", ""),
    ([sent(), tls("Untrusted"), tls("Trusted")], SECURE, "protected", "trusted authority"),
    ([sent(), tls("Untrusted"), ELSEWHERE], SECURE, "deferred", "never trusted"),
    ([sent(), tls("Untrusted")], SECURE, "not-seen", "smtp_tls_CAfile"),
    ([sent(), tls("Anonymous"), ELSEWHERE], SECURE, "not-seen", "anonymous"),
    ([sent(), ELSEWHERE], SECURE, "deferred", "never seen with TLS"),
    ([sent()], SECURE, "not-seen", "smtp_tls_loglevel"),
    (
        [sent("other.test"), tls("Verified", "other.test")],
        SECURE,
        "deferred",
        "its name is none of mx.example.test",
    ),
    ([sent(), sent("other.test"), tls("Verified")], SECURE, "partly", "its name is none of"),
    ([sent(status="deferred")], SECURE, "not-seen", "no host took mail"),
    ([sent(), tls("Untrusted"), ELSEWHERE], DANE, "not-seen", "TLSA"),
    ([sent(), tls("Verified")], DANE, "protected", ""),
    ([sent()], Decision(Row.NOTHING), "same", ""),
    ([sent()], Decision(Row.RECORD_FAILED_DEFERRED, "TXT x", is_deferral=True), "deferred", "TXT x"),
]


@pytest.mark.parametrize("lines, decision, outcome, reason", JUDGED)
def test_a_destination_is_judged_by_its_hosts(
    lines: list[str], decision: Decision, outcome: str, reason: str
) -> None:
    seen = observe(*lines)
    met = judge(NAME, seen.destinations[NAME], decision, seen)
    assert met.outcome == outcome
    assert reason in "; ".join(met.reasons)
    assert bool(met.reasons) == bool(reason)


def test_dane_that_is_our_word_asks_for_something_and_the_sites_own_does_not() -> None:
    seen = observe(sent(), tls("Untrusted"))
    decision = Decision(Row.DANE_PARTIAL, "x", Level.DANE)
    met = judge(NAME, seen.destinations[NAME], decision, seen, Level.MAY)
    assert (met.outcome, met.reasons) == (
        "not-seen",
        ("hosts with TLSA records must fit them, which the log does not tell",),
    )
    assert judge(NAME, seen.destinations[NAME], decision, seen, Level.DANE).outcome == "same"


async def replayed(lab: Lab, seen: Observed) -> list[Met]:
    cache = SqliteCache(lab.settings().sender_cache_path, 10)
    answers = await make_answers(lab.settings(), Overlay(cache), make_sender_resolver(lab.settings()))
    found = [met async for met in replay(seen, answers, lambda: None)]
    await answers.knowledge.close()
    return found


async def test_destinations_are_decided_as_the_daemon_would_and_nothing_is_written(lab: Lab) -> None:
    lab.publish()
    seen = observe(sent("other.test"), tls("Trusted", "other.test"), *[sent(domain="plain.test")] * 2)
    found = await replayed(lab, seen)
    assert [(met.domain, met.outcome, met.decision.row) for met in found] == [
        ("plain.test", Outcome.SAME, Row.NOTHING),
        (DOMAIN, Outcome.DEFERRED, Row.STS_ENFORCE),
    ]
    cache = SqliteCache(lab.settings().sender_cache_path, 10)
    assert await cache.listing() == []
    await cache.close()


async def test_what_the_cache_holds_counts(lab: Lab, daemon: object) -> None:
    lab.publish()
    learning = lab.daemon()
    await learning.answers.answer(f"QUERY {DOMAIN}".encode())
    await learning.knowledge.close()
    lab.dns.set(f"_mta-sts.{DOMAIN}", "TXT")
    [met] = await replayed(lab, observe(sent(), tls("Trusted")))
    assert (met.decision.row, met.outcome) == (Row.STS_ENFORCE, Outcome.PROTECTED)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DOMAINS", 3)
    monkeypatch.setattr(limits, "MAX_HOSTS", 3)
    lines = [sent(f"mx{number}.test", f"d{number}.test") for number in range(10)]
    seen = observe(*lines, *(tls("Trusted", f"mx{number}.test") for number in range(10)))
    assert (len(seen.destinations), seen.left_out, len(seen.trusts)) == (3, 7, 3)
    many = observe(*(sent(f"mx{number}.test") for number in range(100)))
    assert len(many.destinations[NAME].relays) == limits.MAX_RELAYS


def test_a_relayhost_is_noticed() -> None:
    seen = observe(*(sent("out.test", f"d{number}.test") for number in range(9)), sent("else.test"))
    assert seen.likely_relayhost() == "out.test"
    assert observe(sent("a.test"), sent("b.test", "c.test")).likely_relayhost() == ""
    assert seen.days == ("2026-11-27", "2026-11-27")


SHADOWED = [
    (
        "OK secure match=mx.example.test:.x.test servername=hostname policy_type=sts",
        "mx.example.test",
        "protected",
    ),
    ("OK secure match=.example.test servername=hostname", "mx.example.test", "protected"),
    ("OK secure match=.example.test servername=hostname", "else.test", "deferred"),
    ("TEMP sts-enforce-no-name: x", "mx.example.test", "deferred"),
    ("OK dane-only", "mx.example.test", "protected"),
    ("OK may policy_type=sts", "else.test", "same"),
    ("NOTFOUND ", "else.test", "same"),
]


@pytest.mark.parametrize("answer, relay, outcome", SHADOWED)
def test_what_shadow_mode_wrote_is_judged_in_the_same_way(answer: str, relay: str, outcome: str) -> None:
    row = Shadowed(DOMAIN, "sts-enforce", answer, "x", "NOTFOUND ", 1, 0, 0)
    assert judge_shadowed(row, observe(sent(relay), tls("Verified", relay)))[0] == outcome
