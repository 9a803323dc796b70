"""The policy follows the MX records: with a real DNS server, a clock that is set, and the real outbox."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from tests.fakes.dns import FakeDns, Fault

from mailward.config import Dns, Sender, Settings
from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.follow import Follow
from mailward.core.mtasts.policy import Mode, Policy
from mailward.net import clock
from mailward.store.aio import in_store
from mailward.store.models import (
    Domain,
    DomainEvent,
    DomainRecipient,
    MxChange,
    Notice,
    Notification,
    OutboxItem,
    PolicyVersion,
    Problem,
)
from mailward.store.services import following, leaving, notifications, outbox
from mailward.store.services.policies import publish_policy
from mailward.worker import loop
from mailward.worker.handlers import HANDLERS
from mailward.worker.timed import follow_mx

pytestmark = pytest.mark.django_db(transaction=True)
FOLLOW = next(handler for handler in HANDLERS if handler.kind == "follow")
POLICY = Policy(Mode.ENFORCE, 604_800, ("mx1.example.test",))


@pytest.fixture
async def dns() -> AsyncIterator[FakeDns]:
    async with FakeDns() as server:
        server.delegate("test", "ns.test.")
        server.delegate("example.test", "ns.example.test.")
        server.set("secure.test", "SOA", "ns. host. 1 1 1 1 1")
        server.set("example.test", "MX", "10 mx1.example.test.", "20 mx2.example.test.")
        yield server


@pytest.fixture
def settings(dns: FakeDns) -> Settings:
    return Settings(
        dns=Dns(resolvers=(dns.address,), authoritative_override=(dns.address,)),
        sender=Sender(dnssec_secure_name="secure.test", dnssec_bogus_name="bogus.test"),
    )


def start(domain: Domain, mode: Follow, *hosts: str) -> None:
    publish_policy(domain.organisation_id, domain.pk, POLICY, author_id=None)
    DomainRecipient.objects.create(
        domain=domain, organisation_id=domain.organisation_id, email="ops@example.test"
    )
    following.set_follow(domain.organisation_id, domain.pk, mode, author_id=None)
    following.consider(domain.pk, hosts, Settings())


def publish(domain: Domain, mx: tuple[str, ...]) -> None:
    publish_policy(domain.organisation_id, domain.pk, Policy(Mode.ENFORCE, 604_800, mx), author_id=None)


async def work(settings: Settings) -> None:
    await in_store(following.put_due, 100)
    await in_store(outbox.hasten, "follow")
    await loop.work_once(settings, FOLLOW)


def states() -> list[tuple[str, str, str]]:
    return list(MxChange.objects.order_by("id").values_list("kind", "subject", "state"))


def current() -> tuple[str, ...]:
    version = PolicyVersion.objects.order_by("-number").first()
    return tuple(version.mx) if version else ()


BOTH = ("mx1.example.test", "mx2.example.test")


@pytest.mark.parametrize("mode", [Follow.OFF, Follow.PROVIDERS])
async def test_what_nobody_asked_for_is_left_alone(settings: Settings, domain: Domain, mode: Follow) -> None:
    await in_store(start, domain, mode, *BOTH)
    await work(settings)
    assert await in_store(states) == []


async def test_a_new_host_joins_after_the_wait(settings: Settings, domain: Domain) -> None:
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    assert await in_store(states) == [("appeared", "mx2.example.test", "waiting")]
    assert await in_store(current) == ("mx1.example.test",)
    notice = await in_store(Notice.objects.get)
    assert notice.recipient == "ops@example.test"
    assert (
        "The server of its zone says so; the zone is not signed, says the zone above; DNSSEC was not checked."
        in " ".join(notice.lines)
    )
    with clock.frozen(clock.now() + timedelta(hours=23)):
        await work(settings)
        assert await in_store(current) == ("mx1.example.test",)
    with clock.frozen(clock.now() + timedelta(hours=25)):
        await work(settings)
        assert await in_store(current) == BOTH
    assert await in_store(states) == [("appeared", "mx2.example.test", "done")]
    told = await in_store(lambda: list(DomainEvent.objects.order_by("id").values_list("kind", flat=True)))
    assert told == ["policy-changed", "mx-follow", "mx-announced", "policy-changed", "mx-done"]


DS = "12345 13 2 " + 64 * "a"


@pytest.mark.parametrize("is_signed", [True, False])
async def test_a_resolver_that_validates_is_believed(
    settings: Settings, domain: Domain, dns: FakeDns, is_signed: bool
) -> None:
    dns.authenticated = True
    dns.fail(Fault.SERVFAIL, "bogus.test")
    if not is_signed:
        dns.insecure.add("example.test")
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    said = " ".join((await in_store(Notice.objects.get)).lines)
    assert ("; DNSSEC proves it." if is_signed else "; the zone is not signed.") in said
    assert not [query for query in dns.queries if query.rdtype == "DS"]


@pytest.mark.parametrize("is_claimed", [True, False])
async def test_where_none_validates_the_change_of_a_signed_zone_is_held(
    settings: Settings, domain: Domain, dns: FakeDns, is_claimed: bool
) -> None:
    """A resolver may set the AD bit without a look at any signature: it answers for the bogus name."""
    dns.authenticated = is_claimed
    dns.set("bogus.test", "A", "192.0.2.1")
    dns.set("example.test", "DS", DS)
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    assert await in_store(states) == [("appeared", "mx2.example.test", "noticed")]
    detail = (await in_store(MxChange.objects.get)).detail
    assert "its zone is signed, and this is not checked here (the resolver does not validate" in detail
    assert "[dns] resolvers" in detail


async def test_silence_about_whether_a_zone_is_signed_holds_too(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    dns.fail(Fault.SERVFAIL, "example.test", "DS")
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    assert "whether its zone is signed is not known" in (await in_store(MxChange.objects.get)).detail


async def test_an_objection_by_the_link_in_the_mail_holds(settings: Settings, domain: Domain) -> None:
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    notice = await in_store(Notice.objects.get)
    token = re.search(r"/veto/(\w+)/", " ".join(notice.lines))
    assert token
    row = await in_store(following.by_veto_token, token[1])
    assert row is not None
    assert await in_store(following.end, row.pk, "vetoed", "by the link")
    with clock.frozen(clock.now() + timedelta(hours=25)):
        await in_store(following.consider, domain.pk, BOTH, Settings())
        await work(settings)
    assert await in_store(current) == ("mx1.example.test",)
    assert await in_store(states) == [("appeared", "mx2.example.test", "vetoed")]


async def test_an_objection_outlasts_what_following_itself_changes(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    """Whoever forges two hosts must not get the one that somebody objected to announced again for the other."""
    hosts = ("mx1.example.test", "mx2.example.test", "mx3.example.test")
    dns.set("example.test", "MX", *(f"10 {host}." for host in hosts))
    await in_store(start, domain, Follow.ALL, *hosts)
    await work(settings)
    row = await in_store(lambda: MxChange.objects.get(subject="mx3.example.test"))
    await in_store(following.end, row.pk, "vetoed", "")
    with clock.frozen(clock.now() + timedelta(hours=25)):
        await work(settings)
        assert await in_store(current) == BOTH
        await in_store(following.consider, domain.pk, BOTH, Settings())  # it vanishes, and is back
        await in_store(following.consider, domain.pk, hosts, Settings())
        await work(settings)
    assert ("appeared", "mx3.example.test", "waiting") not in await in_store(states)
    assert await in_store(Notice.objects.count) == 2


async def test_an_objection_is_settled_once_a_person_takes_the_host_in(
    settings: Settings, domain: Domain
) -> None:
    await in_store(start, domain, Follow.ALL, *BOTH)
    [row] = await in_store(following.open_changes, domain.pk)
    await in_store(following.end, row.pk, "vetoed", "")
    for mx in (BOTH, POLICY.mx):
        await in_store(publish, domain, mx)
        await in_store(following.consider, domain.pk, BOTH, Settings())
    found = await in_store(states)
    assert [state for _, subject, state in found if subject == "mx2.example.test"] == ["lifted", "noticed"]


async def test_a_departure_is_asked_about_again_when_the_host_was_live_in_between(
    settings: Settings, domain: Domain
) -> None:
    wide = Policy(Mode.ENFORCE, 604_800, BOTH)
    await in_store(start, domain, Follow.ALL, "mx1.example.test")
    await in_store(lambda: publish_policy(domain.organisation_id, domain.pk, wide, author_id=None))
    await in_store(following.consider, domain.pk, ("mx1.example.test",), Settings())
    [row] = await in_store(following.open_changes, domain.pk)
    await in_store(following.end, row.pk, "vetoed", "")
    await in_store(following.consider, domain.pk, ("mx1.example.test",), Settings())
    assert await in_store(states) == [("departed", "mx2.example.test", "vetoed")]
    await in_store(following.consider, domain.pk, BOTH, Settings())
    await in_store(following.consider, domain.pk, ("mx1.example.test",), Settings())
    assert [state for _, _, state in await in_store(states)] == ["lifted", "noticed"]


async def test_a_forged_answer_goes_nowhere(settings: Settings, domain: Domain, dns: FakeDns) -> None:
    await in_store(start, domain, Follow.ALL, "mx1.example.test", "evil.example")
    await work(settings)
    assert await in_store(states) == [("appeared", "evil.example", "withdrawn")]
    assert await in_store(Notice.objects.count) == 0


async def test_who_is_not_answered_waits(settings: Settings, domain: Domain, dns: FakeDns) -> None:
    dns.fail(Fault.SERVFAIL, "example.test", "MX")
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    [row] = await in_store(lambda: list(MxChange.objects.all()))
    assert (row.state, row.detail) == ("noticed", "the resolver has no answer, or DNSSEC refuses it")
    dns.heal()
    await work(settings)
    assert await in_store(states) == [("appeared", "mx2.example.test", "waiting")]


async def test_what_disappears_before_its_time_is_withdrawn(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    dns.set("example.test", "MX", "10 mx1.example.test.")
    with clock.frozen(clock.now() + timedelta(hours=25)):
        await work(settings)
    assert await in_store(states) == [("appeared", "mx2.example.test", "withdrawn")]
    assert await in_store(current) == ("mx1.example.test",)


async def test_a_host_that_left_leaves_the_policy_after_its_ttl(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    dns.ttl = 172_800
    dns.set("example.test", "MX", "10 mx1.example.test.")
    await in_store(start, domain, Follow.ALL, "mx1.example.test")
    wide = Policy(Mode.ENFORCE, 604_800, BOTH)
    await in_store(lambda: publish_policy(domain.organisation_id, domain.pk, wide, author_id=None))
    await in_store(following.consider, domain.pk, ("mx1.example.test",), Settings())
    await work(settings)
    assert await in_store(states) == [("departed", "mx2.example.test", "waiting")]
    notice = await in_store(Notice.objects.get)
    due = (await in_store(MxChange.objects.get)).due_at
    assert due
    trusted = f"until {due + timedelta(days=7):%d %B %Y, %H:%M} UTC: do not give the name up before that"
    assert trusted in " ".join(" ".join(notice.lines).split())
    with clock.frozen(clock.now() + timedelta(hours=47)):
        await work(settings)
        assert await in_store(current) == BOTH
    with clock.frozen(clock.now() + timedelta(hours=49)):
        await work(settings)
        assert await in_store(current) == ("mx1.example.test",)
        until = clock.now() + timedelta(days=7)
    row = await in_store(MxChange.objects.get)
    assert f"trust it until {until:%Y-%m-%d %H:%M} UTC: do not give the name up before" in row.detail


async def look(domain: Domain, hours: int, *hosts: str) -> None:
    with clock.frozen(clock.now() + timedelta(hours=hours)):
        await in_store(following.consider, domain.pk, hosts, Settings())


async def test_where_nothing_follows_a_host_that_left_is_told_once_until_it_is_out_of_the_policy(
    settings: Settings, domain: Domain
) -> None:
    await in_store(start, domain, Follow.OFF, "mx1.example.test")
    await in_store(publish, domain, BOTH)
    for hours in (0, 23):
        await look(domain, hours, "mx1.example.test")
        await work(settings)
    assert await in_store(problems) == [], "it may come back"
    for hours in (25, 26):
        await look(domain, hours, "mx1.example.test")
        await work(settings)
    assert await in_store(states) == [("departed", "mx2.example.test", "left")]
    assert await in_store(problems) == [("mx-host-left", "mx2.example.test", True)]
    assert await in_store(DomainEvent.objects.filter(kind="mx-left").count) == 1
    assert await in_store(current) == BOTH, "nobody asked for it to be changed"

    await in_store(publish, domain, ("mx1.example.test",))
    await look(domain, 27, "mx1.example.test")
    assert await in_store(states) == [("departed", "mx2.example.test", "withdrawn")]
    assert await in_store(problems) == [("mx-host-left", "mx2.example.test", False)]


async def test_what_the_policy_is_to_keep_is_told_no_more(domain: Domain) -> None:
    await in_store(start, domain, Follow.OFF, "mx1.example.test")
    await in_store(publish, domain, BOTH)
    for hours in (0, 25):
        await look(domain, hours, "mx1.example.test")
    await in_store(lambda: following.end(MxChange.objects.get().pk, "vetoed", ""))
    for hours in (26, 80):
        await look(domain, hours, "mx1.example.test")
    assert await in_store(states) == [("departed", "mx2.example.test", "vetoed")]
    assert await in_store(problems) == [("mx-host-left", "mx2.example.test", False)]


async def test_what_has_left_is_followed_once_that_is_switched_on(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    dns.set("example.test", "MX", "10 mx1.example.test.")
    await in_store(start, domain, Follow.OFF, "mx1.example.test")
    await in_store(publish, domain, BOTH)
    for hours in (0, 25):
        await look(domain, hours, "mx1.example.test")
    with clock.frozen(clock.now() + timedelta(hours=26)):
        await in_store(
            lambda: following.set_follow(domain.organisation_id, domain.pk, Follow.ALL, author_id=None)
        )
        await in_store(following.consider, domain.pk, ("mx1.example.test",), Settings())
        await work(settings)
    assert [state for *_, state in await in_store(states)] == ["withdrawn", "waiting"]
    assert await in_store(problems) == [("mx-host-left", "mx2.example.test", False)]


async def test_what_was_planned_is_not_taken_out_and_ends_when_it_is_live(
    settings: Settings, domain: Domain
) -> None:
    wide = Policy(Mode.ENFORCE, 604_800, BOTH)
    await in_store(start, domain, Follow.ALL, "mx1.example.test")
    await in_store(lambda: publish_policy(domain.organisation_id, domain.pk, wide, author_id=None))
    soon = clock.now() + timedelta(days=3)
    await in_store(
        lambda: following.plan(domain.organisation_id, domain.pk, "mx2.example.test", soon, author_id=None)
    )
    await in_store(following.consider, domain.pk, ("mx1.example.test",), Settings())
    assert await in_store(states) == [("planned", "mx2.example.test", "waiting")]
    await in_store(following.consider, domain.pk, BOTH, Settings())
    assert await in_store(states) == [("planned", "mx2.example.test", "done")]


async def test_two_hosts_that_come_together_both_join(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    """A move to another provider: neither may be refused because the other one is not in the policy yet."""
    dns.set("example.test", "MX", "10 mx2.example.test.", "20 mx3.example.test.")
    await in_store(start, domain, Follow.ALL, "mx2.example.test", "mx3.example.test")
    await work(settings)
    with clock.frozen(clock.now() + timedelta(hours=25)):
        await work(settings)
    assert await in_store(states) == [
        ("appeared", "mx2.example.test", "done"),
        ("appeared", "mx3.example.test", "done"),
    ]
    assert await in_store(current) == ("mx1.example.test", "mx2.example.test", "mx3.example.test")


async def test_a_bad_host_among_several_is_not_let_in_by_the_others(domain: Domain) -> None:
    def go() -> tuple[list[tuple[str, str, str]], tuple[str, ...]]:
        start(domain, Follow.ALL, "mx2.example.test", "mx3.example.test")
        facts = ChangeFacts(
            ("mx2.example.test", "mx3.example.test"), rejected={"mx2.example.test": "expired"}
        )
        for row in following.open_changes(domain.pk):
            following.announce(row.pk, clock.now(), "", "", "subject", [])
            following.carry_out(row.pk, facts, Settings().problems)
        return states(), current()

    found, mx = await in_store(go)
    assert [state for _, _, state in found] == ["waiting", "done"]
    assert mx == ("mx1.example.test", "mx3.example.test")


def problems() -> list[tuple[str, str, bool]]:
    rows = Problem.objects.order_by("id").values_list("result_type", "host", "closed_at")
    return [(cause, host, closed_at is None) for cause, host, closed_at in rows]


async def test_what_was_refused_is_tried_again_told_once_and_done_when_it_may_be(
    settings: Settings, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = ChangeFacts(BOTH, rejected={"mx2.example.test": "the certificate expired on 1 May"})

    async def learnt(*_: object) -> ChangeFacts:
        return facts

    monkeypatch.setattr("mailward.worker.following.learn_facts", learnt)
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    for hours in (25, 26, 27):
        with clock.frozen(clock.now() + timedelta(hours=hours)):
            await in_store(following.consider, domain.pk, BOTH, Settings())
            await work(settings)
    assert await in_store(states) == [("appeared", "mx2.example.test", "waiting")]
    assert await in_store(problems) == [("mx-follow-held", "mx2.example.test", True)]
    told = await in_store(lambda: DomainEvent.objects.filter(kind="mx-held").values_list("reason", flat=True))
    assert await in_store(lambda: [("expired on 1 May" in each) for each in told]) == [True]
    [again] = await in_store(lambda: list(OutboxItem.objects.filter(kind="follow")))
    assert again.attempts == 3
    assert "expired on 1 May" in again.last_error

    facts = ChangeFacts(BOTH)
    with clock.frozen(clock.now() + timedelta(hours=28)):
        await work(settings)
    assert await in_store(states) == [("appeared", "mx2.example.test", "done")]
    assert await in_store(problems) == [("mx-follow-held", "mx2.example.test", False)]
    assert not await in_store(OutboxItem.objects.filter(kind="follow").exists)


async def test_servers_that_go_on_disagreeing_are_told_of_until_the_host_is_gone(
    settings: Settings, domain: Domain, dns: FakeDns
) -> None:
    dns.fail(Fault.SERVFAIL, "example.test", "MX")
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    assert await in_store(problems) == [], "one may be slow to learn"
    with clock.frozen(clock.now() + timedelta(minutes=16)):
        await work(settings)
    assert await in_store(problems) == [("mx-follow-held", "mx2.example.test", True)]
    dns.heal()
    dns.set("example.test", "MX", "10 mx1.example.test.")
    with clock.frozen(clock.now() + timedelta(hours=1)):
        await work(settings)
    assert await in_store(states) == [("appeared", "mx2.example.test", "withdrawn")]
    assert await in_store(problems) == [("mx-follow-held", "mx2.example.test", False)]


async def test_whoever_is_told_reads_why_it_is_held(settings: Settings, domain: Domain) -> None:
    def go() -> tuple[str, ...]:
        start(domain, Follow.ALL, *BOTH)
        [row] = following.open_changes(domain.pk)
        following.announce(row.pk, clock.now(), "", "", "subject", [])
        facts = ChangeFacts(BOTH, rejected={"mx2.example.test": "it names another host"})
        following.carry_out(row.pk, facts, settings.problems)
        notifications.queue(Problem.objects.values_list("pk", flat=True), "mailward.test")
        letter = notifications.letter(Notification.objects.get().message_id)
        return letter.seen if letter is not None else ()

    [seen] = await in_store(go)
    assert "Strict senders would refuse mx2.example.test: it names another host" in seen


async def test_whoever_follows_less_takes_nothing_more_that_was_noticed_before(
    settings: Settings, domain: Domain
) -> None:
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    kept = await in_store(
        following.set_follow, domain.organisation_id, domain.pk, Follow.PROVIDERS, author_id=None
    )
    assert kept
    with clock.frozen(clock.now() + timedelta(hours=25)):
        await work(settings)
    assert await in_store(current) == ("mx1.example.test",)
    assert await in_store(states) == [("appeared", "mx2.example.test", "withdrawn")]


async def test_whoever_leaves_is_not_held_by_a_change_that_waits(settings: Settings, domain: Domain) -> None:
    await in_store(start, domain, Follow.ALL, *BOTH)
    await work(settings)
    await in_store(leaving.begin, domain.organisation_id, domain.pk, author_id=None)
    with clock.frozen(clock.now() + timedelta(hours=25)):
        await work(settings)
        assert await in_store(leaving.advance, domain.pk)
    assert await in_store(states) == [("appeared", "mx2.example.test", "withdrawn")]


async def test_a_planned_host_that_never_comes_is_told_of_and_planned_no_more(
    settings: Settings, domain: Domain
) -> None:
    await in_store(start, domain, Follow.OFF, "mx1.example.test")
    due = clock.now() + timedelta(days=3)
    await in_store(
        lambda: following.plan(domain.organisation_id, domain.pk, "mx9.example.test", due, author_id=None)
    )
    with clock.frozen(due + timedelta(days=29)):
        await follow_mx(settings)
        assert await in_store(states) == [("planned", "mx9.example.test", "waiting")]
    with clock.frozen(due + timedelta(days=31)):
        await follow_mx(settings)
        await follow_mx(settings)
    assert await in_store(states) == [("planned", "mx9.example.test", "withdrawn")]
    told = await in_store(lambda: list(Notice.objects.values_list("recipient", "subject")))
    assert told == [("ops@example.test", "example.test: the planned MX host mx9.example.test has not come")]
