"""From question to answer, with real DNS and HTTPS on loopback."""

import asyncio
import contextlib
import datetime as dt
import logging
import sqlite3

import pytest
from tests.fakes.dns import Fault
from tests.fakes.policyhost import http
from tests.sender.lab import DOMAIN, POLICY, SECURE, SHA256, Lab, policy

from mailward.core.dane.judge import HostState
from mailward.core.names import Domain
from mailward.core.postfix.netstring import encode
from mailward.core.postfix.nexthop import NextHop
from mailward.core.sending.facts import Row
from mailward.core.sending.overrides import Action, Override
from mailward.net import clock
from mailward.sender.daemon import Daemon

NAME = Domain(DOMAIN)


async def ask(daemon: Daemon, key: str = DOMAIN, map_name: str = "QUERY") -> str:
    frame = await daemon.answers.answer(f"{map_name} {key}".encode())
    return frame.partition(b":")[2][:-1].decode()


async def test_s10_first_contact_learns_the_policy(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    assert [entry.domain for entry in await daemon.knowledge.cache.listing()] == [DOMAIN]


async def test_the_map_name_chooses_the_attributes_without_another_fetch(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    assert (await ask(daemon, map_name="QUERYwithTLSRPT")).startswith(
        f"{SECURE} policy_type=sts policy_domain="
    )
    assert len(lab.host.requests) == 1


@pytest.mark.parametrize(
    "key", [".example.test", ".test", "[192.0.2.1]:25", "localhost", "\N{SNOWMAN}", "x" * 10_000]
)
async def test_keys_without_a_policy_of_their_own_ask_nobody(lab: Lab, daemon: Daemon, key: str) -> None:
    lab.publish()
    assert await ask(daemon, key) == "NOTFOUND "
    assert daemon.answers.metrics.answers == {Row.NOT_A_DOMAIN: 1}
    assert lab.dns.queries == []


async def test_a_payload_that_is_no_question_is_told_so(daemon: Daemon) -> None:
    assert await daemon.answers.answer(b"QUERY") == b"48:PERM a question is a map name, a space and a key,"


async def test_a_damaged_entry_defers_its_domain_until_it_is_fetched_again(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    with contextlib.closing(sqlite3.connect(lab.sender.cache, isolation_level=None)) as cache:
        cache.execute("UPDATE policy SET policy = x'c1'")
        cache.execute("DELETE FROM version")
    daemon.knowledge.hear_of(NAME)
    lab.dns.set(f"_mta-sts.{DOMAIN}", "TXT")
    lab.host.response = http(status="500 No")
    assert (await ask(daemon)).startswith("TEMP cache-unreadable: ")
    assert daemon.knowledge.damaged_count == 1
    assert await daemon.knowledge.cache.due(daemon.knowledge.now(), 10) == []
    lab.host.response = http(POLICY)
    with clock.frozen(clock.now() + dt.timedelta(minutes=6)):
        await daemon.knowledge.refresh(NAME)
        assert await ask(daemon) == SECURE
    assert daemon.knowledge.damaged_count == 0
    assert [entry.domain for entry in await daemon.knowledge.cache.listing()] == [DOMAIN]


async def test_without_a_record_nothing_is_asked_again_within_the_negative_ttl(
    lab: Lab, daemon: Daemon
) -> None:
    assert await ask(daemon) == "NOTFOUND "
    daemon.answers.memo.drop_all()
    assert await ask(daemon) == "NOTFOUND "
    assert lab.asked(f"_mta-sts.{DOMAIN}", "TXT") == 1


async def test_a_thousand_questions_for_a_new_domain_are_one_discovery(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    answers = await asyncio.gather(*(ask(daemon) for _ in range(1000)))
    assert set(answers) == {SECURE}
    assert (lab.asked(f"_mta-sts.{DOMAIN}", "TXT"), len(lab.host.requests)) == (1, 1)


async def test_s10_a_failed_fetch_is_as_without_mta_sts_and_pauses(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    lab.host.response = http(status="500 No")
    assert await ask(daemon) == "NOTFOUND "
    lab.publish()
    daemon.answers.memo.drop_all()
    assert await ask(daemon) == "NOTFOUND "
    assert daemon.answers.metrics.answers == {Row.FETCH_FAILED: 2}
    assert len(lab.host.requests) == 1


async def test_a_failed_record_lookup_lets_mail_pass_unless_told_otherwise(lab: Lab) -> None:
    lab.dns.fail(Fault.SERVFAIL, f"_mta-sts.{DOMAIN}")
    for setting, answer in (
        ("notfound", "NOTFOUND "),
        ("temp", "TEMP record-failed-deferred: TXT _mta-sts.exam"),
    ):
        daemon = lab.daemon(record_failure=setting)
        assert (await ask(daemon)).startswith(answer)
        await daemon.knowledge.close()


async def test_s11_a_learned_policy_outlives_dns_and_https(lab: Lab) -> None:
    lab.publish()
    first = lab.daemon()
    assert await ask(first) == SECURE
    await first.knowledge.close()
    lab.dns.fail(Fault.SERVFAIL)
    second = lab.daemon()
    assert await ask(second) == SECURE
    await second.knowledge.close()


async def test_s17_an_ended_policy_binds_nobody(lab: Lab, daemon: Daemon) -> None:
    lab.publish(body=policy("enforce", 86400))
    assert await ask(daemon) == SECURE
    lab.dns.remove(f"_mta-sts.{DOMAIN}", "TXT")
    with clock.frozen(clock.now() + dt.timedelta(seconds=86400)):
        daemon.answers.memo.drop_all()
        assert await ask(daemon) == "NOTFOUND "
    assert daemon.answers.metrics.answers[Row.STS_EXPIRED] == 1


async def test_a_new_id_is_followed_by_the_background_and_answered_at_once(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    lab.publish("2", policy("none"))
    await daemon.knowledge.refresh(NAME)
    assert daemon.answers.memo.find(encode(f"QUERY {DOMAIN}".encode())) is None
    assert await ask(daemon) == "NOTFOUND "


async def test_s11_a_failed_refresh_keeps_the_policy_and_is_said(
    lab: Lab, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    lab.publish("2")
    lab.host.response = http(status="404 Gone")
    with caplog.at_level(logging.WARNING):
        await daemon.knowledge.refresh(NAME)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "refresh-failed"
    ]
    daemon.answers.memo.drop_all()
    assert await ask(daemon) == SECURE
    entry = await daemon.knowledge.cache.load(NAME)
    assert entry is not None
    assert entry.failure is not None
    assert entry.failure.count == 1


async def test_s12_the_daily_refresh_comes_whatever_the_record_says(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    with clock.frozen(clock.now() + dt.timedelta(days=1)):
        await daemon.refresher.tick()
    assert len(lab.host.requests) == 2


async def test_the_record_of_a_domain_that_gets_mail_is_looked_at_again(lab: Lab) -> None:
    lab.publish()
    daemon = lab.daemon(recheck_seconds=1)
    assert await ask(daemon) == SECURE
    await daemon.refresher.tick()
    assert lab.asked(f"_mta-sts.{DOMAIN}", "TXT") == 1
    (await daemon.knowledge.state(NAME)).recheck_at = 0.0
    await daemon.refresher.tick()
    assert lab.asked(f"_mta-sts.{DOMAIN}", "TXT") == 2
    await daemon.knowledge.close()


async def test_the_cache_is_told_what_is_used(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    with clock.frozen(clock.now() + dt.timedelta(days=2)):
        await daemon.knowledge.touch()
        used_at = int(clock.now().timestamp())
    with sqlite3.connect(lab.sender.cache) as cache:
        assert cache.execute("SELECT used_at FROM policy").fetchall() == [(used_at,)]
    cache.close()


async def test_a_mistake_about_one_domain_ends_no_other_refresh(
    lab: Lab, daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(domain: Domain) -> None:
        raise ZeroDivisionError

    lab.publish()
    assert await ask(daemon) == SECURE
    monkeypatch.setattr(daemon.knowledge, "refresh", fail)
    (await daemon.knowledge.state(NAME)).recheck_at = 0.0
    await daemon.refresher.tick()
    assert caplog.records[-1].message == "refresh-crashed"


async def test_a_mistake_in_the_background_does_not_end_it(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(limit: int) -> list[Domain]:
        raise ZeroDivisionError

    monkeypatch.setattr(daemon.knowledge, "due_for_recheck", fail)
    background = asyncio.create_task(daemon.refresher.run())
    async with asyncio.timeout(5):
        while not caplog.records:  # noqa: ASYNC110 - the log has no event for it
            await asyncio.sleep(0.01)
    assert not background.done()
    assert caplog.records[-1].message == "refresh-crashed"
    background.cancel()


async def test_what_another_process_learned_is_taken_without_a_fetch(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    lab.publish("2", policy("none"))
    with clock.frozen(clock.now() + dt.timedelta(seconds=600)):
        other = lab.daemon()
        await other.knowledge.refresh(NAME)
        await other.knowledge.close()
        await daemon.knowledge.refresh(NAME)
        assert await ask(daemon) == "NOTFOUND "
    assert len(lab.host.requests) == 2


async def test_a_policy_host_that_says_nothing_delays_an_answer_by_five_seconds_at_most(lab: Lab) -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    lab.publish()
    lab.host.response = say_nothing
    daemon = lab.daemon()
    started = clock.monotonic()
    assert await ask(daemon) == "NOTFOUND "
    assert clock.monotonic() - started < 5
    assert daemon.answers.metrics.answers == {Row.FETCH_FAILED: 1}
    lab.host.response = http(POLICY)
    await daemon.knowledge.close()


async def test_a_capped_max_age_is_said(lab: Lab, daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    lab.publish(body=policy("enforce", 40_000_000))
    with caplog.at_level(logging.INFO):
        assert await ask(daemon) == SECURE
    [learned] = [record for record in caplog.records if record.message == "policy-learned"]
    assert vars(learned)["findings"] == "max-age-high"


async def test_one_line_is_logged_for_each_changed_decision(
    lab: Lab, daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    lab.publish()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            daemon.answers.memo.drop_all()
            await ask(daemon)
        lab.publish("2", policy("none"))
        await daemon.knowledge.refresh(NAME)
        await ask(daemon)
    changes = [(vars(r)["was"], vars(r)["row"]) for r in caplog.records if r.message == "decision-changed"]
    assert changes == [("-", "sts-enforce"), ("sts-enforce", "sts-none")]


async def test_an_override_holds_at_once_and_needs_no_fetch(lab: Lab, daemon: Daemon) -> None:
    lab.publish()
    assert await ask(daemon) == SECURE
    tomorrow = clock.today() + dt.timedelta(days=1)
    daemon.answers.use_overrides((Override(DOMAIN, Action.REQUIRE, "x", tomorrow, ("a.test",)),))
    assert await ask(daemon) == "OK secure match=a.test servername=hostname"
    daemon.answers.use_overrides(())
    assert await ask(daemon) == SECURE
    assert len(lab.host.requests) == 1


class TestDane:
    @pytest.fixture(autouse=True)
    def _on(self, lab: Lab, daemon: Daemon) -> None:
        lab.sign()
        daemon.knowledge.dane.is_on = True

    async def test_full_dane_comes_first(self, lab: Lab, daemon: Daemon) -> None:
        lab.publish()
        assert await ask(daemon) == "OK dane-only"

    async def test_unsigned_zones_are_never_asked_for_tlsa(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.insecure.add(DOMAIN)
        lab.publish()
        assert await ask(daemon) == SECURE
        assert not [query for query in lab.dns.queries if query.rdtype == "TLSA"]

    async def test_an_insecure_address_is_never_asked_for_tlsa(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.insecure.add(f"mx.{DOMAIN}")
        assert await ask(daemon) == "NOTFOUND "
        assert not [query for query in lab.dns.queries if query.rdtype == "TLSA"]

    async def test_a_secure_alias_into_an_unsigned_zone_is_asked_for_tlsa_at_its_own_name(
        self, lab: Lab, daemon: Daemon
    ) -> None:
        lab.dns.remove(f"mx.{DOMAIN}", "A")
        lab.dns.set(f"mx.{DOMAIN}", "CNAME", "mx.unsigned.test.")
        lab.dns.set("mx.unsigned.test", "A", "192.0.2.1")
        lab.dns.insecure.add("unsigned.test")
        assert await ask(daemon) == "OK dane-only"
        assert lab.asked("_25._tcp.mx.unsigned.test", "TLSA") == 0

    async def test_an_alias_that_cannot_be_looked_up_is_no_host_without_tlsa(
        self, lab: Lab, daemon: Daemon
    ) -> None:
        lab.dns.remove(f"mx.{DOMAIN}", "A")
        lab.dns.set(f"mx.{DOMAIN}", "CNAME", "mx.unsigned.test.")
        lab.dns.set("mx.unsigned.test", "A", "192.0.2.1")
        lab.dns.insecure.add("unsigned.test")
        lab.dns.fail(Fault.SERVFAIL, f"mx.{DOMAIN}", "CNAME")
        finding, _ = await daemon.knowledge.discovery.find_dane(NextHop(NAME))
        assert [(host.state, host.reason[:21]) for host in finding.hosts] == [
            (HostState.FAILED, "CNAME mx.example.test")
        ]

    async def test_an_alias_that_is_not_secure_is_not_asked_for_tlsa(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.remove(f"mx.{DOMAIN}", "A")
        lab.dns.set(f"mx.{DOMAIN}", "CNAME", f"host.{DOMAIN}.")
        lab.dns.set(f"host.{DOMAIN}", "A", "192.0.2.1")
        lab.dns.insecure.add(f"mx.{DOMAIN}")
        assert await ask(daemon) == "NOTFOUND "
        assert not [query for query in lab.dns.queries if query.rdtype == "TLSA"]

    async def test_one_failing_address_family_hides_nothing(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.fail(Fault.SERVFAIL, f"mx.{DOMAIN}", "AAAA")
        assert await ask(daemon) == "OK dane-only"

    async def test_one_dead_mx_leaves_dane_only_in_place(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.set(DOMAIN, "MX", f"10 mx.{DOMAIN}.", f"20 mx2.{DOMAIN}.")
        lab.dns.fail(Fault.SERVFAIL, f"mx2.{DOMAIN}")
        assert await ask(daemon) == "OK dane-only"

    async def test_a_host_without_tlsa_makes_it_partial(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.set(DOMAIN, "MX", f"10 mx.{DOMAIN}.", f"20 mx2.{DOMAIN}.")
        lab.dns.set(f"mx2.{DOMAIN}", "A", "192.0.2.2")
        assert await ask(daemon) == "OK dane"

    @pytest.mark.parametrize("malformed", [b"", b"\x03\x01", b"\x03\x01\x01"])
    @pytest.mark.parametrize("is_alias", [False, True])
    async def test_a_malformed_tlsa_record_is_an_unusable_one(
        self, lab: Lab, daemon: Daemon, malformed: bytes, is_alias: bool
    ) -> None:
        owner = f"_25._tcp.mx.{DOMAIN}"
        if is_alias:
            lab.dns.remove(owner, "TLSA")
            lab.dns.set(owner, "CNAME", f"tlsa.{DOMAIN}.")
            owner = f"tlsa.{DOMAIN}"
        lab.dns.set(owner, "TLSA", malformed)
        assert await ask(daemon) == "OK dane"
        lab.dns.set(owner, "TLSA", malformed, f"3 1 1 {SHA256}")
        daemon.knowledge.dane.forget()
        daemon.answers.memo.drop_all()
        assert await ask(daemon) == "OK dane-only"

    async def test_partial_dane_hides_no_enforcing_policy(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.set(DOMAIN, "MX", f"10 mx.{DOMAIN}.", f"20 mx2.{DOMAIN}.")
        lab.dns.set(f"mx2.{DOMAIN}", "A", "192.0.2.2")
        lab.publish()
        assert await ask(daemon) == SECURE

    async def test_a_bracketed_host_is_asked_for_its_own_port(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.set(f"_587._tcp.mx.{DOMAIN}", "TLSA", f"2 0 1 {SHA256}")
        assert await ask(daemon, f"[mx.{DOMAIN}]:587") == "OK dane-only"
        assert lab.asked(DOMAIN, "MX") == 0

    async def test_a_failing_mx_lookup_names_itself_where_it_must_defer(self, lab: Lab) -> None:
        lab.dns.fail(Fault.SERVFAIL, DOMAIN, "MX")
        daemon = lab.daemon(default_level="")
        daemon.knowledge.dane.is_on = True
        answer = await ask(daemon)
        assert answer.startswith(
            "TEMP dane-unknown-deferred: DANE cannot be ruled out: MX example.test: 127.0.0.1:"
        )
        await daemon.knowledge.close()

    async def test_a_failing_mx_host_defers_nothing_beside_one_without_tlsa(self, lab: Lab) -> None:
        lab.dns.set(DOMAIN, "MX", f"10 mx.{DOMAIN}.", f"20 mx2.{DOMAIN}.")
        lab.dns.remove(f"_25._tcp.mx.{DOMAIN}", "TLSA")
        lab.dns.fail(Fault.SERVFAIL, f"mx2.{DOMAIN}")
        for level, answer in (("", "NOTFOUND "), ("encrypt", "NOTFOUND "), ("may", "OK dane")):
            daemon = lab.daemon(default_level=level)
            daemon.knowledge.dane.is_on = True
            assert await ask(daemon) == answer
            await daemon.knowledge.close()

    async def test_dane_that_was_full_is_not_forgotten_by_a_failing_lookup(
        self, lab: Lab, daemon: Daemon
    ) -> None:
        assert await ask(daemon) == "OK dane-only"
        for known in daemon.knowledge.dane._known.values():
            known.fresh_until = 0.0
        daemon.answers.memo.drop_all()
        lab.dns.fail(Fault.SERVFAIL)
        assert await ask(daemon) == "OK dane-only"

    async def test_a_null_mx_is_left_to_postfix(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.set(DOMAIN, "MX", "0 .")
        assert await ask(daemon) == "NOTFOUND "

    async def test_without_mx_records_the_domain_is_its_own_host(self, lab: Lab, daemon: Daemon) -> None:
        lab.dns.remove(DOMAIN, "MX")
        lab.dns.set(DOMAIN, "A", "192.0.2.1")
        lab.dns.set(f"_25._tcp.{DOMAIN}", "TLSA", f"3 1 1 {SHA256}")
        assert await ask(daemon) == "OK dane-only"
