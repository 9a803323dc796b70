"""From the daily tables to the mail in somebody's hands: the whole way, with a real SMTP server as relay."""

import email
import email.policy
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import msgspec
import pytest
from asgiref.sync import async_to_sync
from tests.fakes.evidence import make_domains, make_organisation, report_failures, report_success
from tests.fakes.relay import FakeRelay

from mailward.config import Relay, Settings
from mailward.net import clock
from mailward.notify import waveletters
from mailward.notify.deliver import send_test
from mailward.store.models import (
    Domain,
    DomainRecipient,
    Membership,
    Notification,
    Organisation,
    OutboxItem,
    Problem,
    Role,
    ServiceState,
    User,
)
from mailward.store.services import notifications, outbox
from mailward.store.services.notices import queue_notice
from mailward.worker import run_once
from mailward.worker.timed import check_relay

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = NOON.date() - timedelta(days=3)
SETTLED = NOON + timedelta(minutes=10)

pytestmark = pytest.mark.django_db


@pytest.fixture
def organisation() -> Organisation:
    return make_organisation()


def member(organisation: Organisation, email: str, *, notify: bool = True, active: bool = True) -> User:
    user, _ = User.objects.get_or_create(email=email, defaults={"is_active": active})
    Membership.objects.create(organisation=organisation, user=user, role=Role.READER, notify=notify)
    return user


def recipient(domain: Domain, email: str) -> None:
    DomainRecipient.objects.create(organisation_id=domain.organisation_id, domain=domain, email=email)


def break_mx(domains: Iterable[Domain], host: str = "mx1.example.net") -> None:
    domains = list(domains)
    for reporter in ("google.test", "microsoft.test"):
        report_failures(domains, DAY, reporter, host=host)
    outbox.put_many(outbox.Item("assess", str(domain.pk)) for domain in domains)


def work(settings: Settings, at: datetime = SETTLED) -> None:
    """What the worker does from noon to `at`."""
    for moment in (NOON, at):
        with clock.frozen(moment):
            async_to_sync(run_once)(settings)


def read(relay: FakeRelay) -> dict[str, EmailMessage]:
    """The one mail that each person got."""
    found: dict[str, EmailMessage] = {}
    for mail in relay.mails:
        (to,) = mail.recipients
        assert to not in found, f"{to} got a second mail"
        message = email.message_from_bytes(mail.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        found[to] = message
    return found


def test_ten_thousand_domains_on_one_broken_mx_give_each_person_one_mail(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    with clock.frozen(NOON):
        domains = make_domains(organisation, [f"d{n}.test" for n in range(10_000)])
        member(organisation, "alice@example.net")
        member(organisation, "bob@example.net")
        break_mx(domains)
    work(settings)
    mails = read(relay)
    assert set(mails) == {"alice@example.net", "bob@example.net"}
    for message in mails.values():
        assert message["Subject"] == "Mailward: certificate expired on mx1.example.net (10,000 domains)"
    assert not OutboxItem.objects.exists()


def test_each_person_hears_of_the_domains_that_concern_them(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    with clock.frozen(NOON):
        domains = make_domains(organisation, ["a.test", "b.test", "c.test"])
        member(organisation, "alice@example.net")
        member(organisation, "quiet@example.net", notify=False)
        member(organisation, "left@example.net", active=False)
        recipient(domains[0], "Ann@A.test")
        recipient(domains[1], "ann@a.test")
        recipient(domains[0], "alice@example.net")  # a member too: one mail, of all domains
        recipient(domains[2], "quiet@example.net")  # wants to hear of this one alone
        break_mx(domains)
    work(settings)
    subjects = {to: message["Subject"].partition("(")[2] for to, message in read(relay).items()}
    assert subjects == {
        "alice@example.net": "3 domains)",
        "ann@a.test": "2 domains)",
        "quiet@example.net": "1 domain)",
    }
    text = read(relay)["ann@a.test"].get_content()
    assert "a.test" in text
    assert "c.test" not in text
    assert "console.example.net" not in text, "pages are for those with a login"
    assert "console.example.net" in read(relay)["quiet@example.net"].get_content()


def test_two_organisations_on_one_mx_never_hear_of_each_other(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    other = make_organisation("Other Ltd")
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        member(other, "charlie@other.test")
        break_mx(make_domains(organisation, ["a.test"]) + make_domains(other, ["z1.test", "z2.test"]))
    work(settings)
    mails = read(relay)
    assert "(1 domain)" in mails["alice@example.net"]["Subject"]
    assert "z1.test" not in mails["alice@example.net"].get_content()
    assert "(2 domains)" in mails["charlie@other.test"]["Subject"]
    assert "a.test" not in mails["charlie@other.test"].get_content().replace("charlie", "")


def test_nobody_is_told_before_the_problem_has_settled(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    first, second = make_domains(organisation, ["a.test", "b.test"])
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        break_mx([first])
    work(settings, SETTLED - timedelta(seconds=1))
    assert relay.mails == []
    with clock.frozen(SETTLED - timedelta(seconds=1)):
        break_mx([second])
        async_to_sync(run_once)(settings)
    work(settings)
    assert "(2 domains)" in read(relay)["alice@example.net"]["Subject"]


def test_a_problem_that_is_gone_before_it_settled_is_not_told(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    domains = make_domains(organisation, ["a.test"])
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        break_mx(domains)
        async_to_sync(run_once)(settings)
        report_success(domains, DAY + timedelta(days=1), "google.test")
        outbox.put("assess", str(domains[0].pk))
    work(settings)
    assert Problem.objects.get().closed_at
    assert relay.mails == []


def test_domains_that_join_later_tell_only_those_who_never_heard_of_it(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    first, second = make_domains(organisation, ["a.test", "b.test"])
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        recipient(second, "ben@b.test")
        break_mx([first])
    work(settings)
    assert set(read(relay)) == {"alice@example.net"}
    with clock.frozen(SETTLED):
        break_mx([second])
        async_to_sync(run_once)(settings)
    work(settings, SETTLED + timedelta(hours=1))
    assert set(read(relay)) == {"alice@example.net", "ben@b.test"}


def test_policy_hosts_of_many_domains_that_break_together_are_one_mail(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    domains = make_domains(organisation, [f"d{n:02}.test" for n in range(30)])
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        for domain in domains:
            for reporter in ("google.test", "microsoft.test"):
                report_failures(
                    [domain],
                    DAY,
                    reporter,
                    host=f"mta-sts.{domain.name}",
                    result_type="sts-policy-fetch-error",
                )
        outbox.put_many(outbox.Item("assess", str(domain.pk)) for domain in domains)
    work(settings)
    assert Problem.objects.count() == 30
    message = read(relay)["alice@example.net"]
    assert "30 hosts (30 domains)" in message["Subject"]
    assert Notification.objects.filter(sent_at=SETTLED).count() == 30


def test_while_the_relay_is_down_the_banner_says_so_and_later_each_mail_goes_out_once(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = Relay(host="127.0.0.1", port=unused.getsockname()[1], security="none", sender="m@example.net")
    with clock.frozen(NOON):
        for name in ("alice", "bob"):
            member(organisation, f"{name}@example.net")
        break_mx(make_domains(organisation, ["a.test"]))
    broken = msgspec.structs.replace(settings, relay=down)
    work(broken)
    state = ServiceState.objects.get(name=notifications.RELAY)
    assert (state.ok, "refused" in state.detail) == (False, True)
    assert Notification.objects.filter(sent_at__isnull=True, error__contains="refused").count() == 2
    for minutes in (1, 2, 10):
        work(broken, SETTLED + timedelta(minutes=minutes))
    work(settings, SETTLED + timedelta(hours=1))
    assert set(read(relay)) == {"alice@example.net", "bob@example.net"}
    assert ServiceState.objects.get(name=notifications.RELAY).ok
    assert Notification.objects.filter(sent_at=SETTLED + timedelta(hours=1), error="").count() == 2
    work(settings, SETTLED + timedelta(hours=2))
    assert len(relay.mails) == 2


def test_without_a_relay_the_banner_says_that_none_is_configured(organisation: Organisation) -> None:
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        break_mx(make_domains(organisation, ["a.test"]))
    work(Settings())
    assert ServiceState.objects.get(name=notifications.RELAY).detail == "no mail relay is configured"
    assert OutboxItem.objects.get().kind == "mail", "it goes out once there is one"


def test_dying_after_the_relay_took_the_mail_repeats_it_under_its_message_id(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        break_mx(make_domains(organisation, ["a.test"]))
    work(settings)
    # as if the worker had died before it wrote down that the mail was sent
    row = Notification.objects.get()
    Notification.objects.update(sent_at=None)
    outbox.put("mail", row.message_id, available_at=SETTLED)
    work(settings)
    first, second = (email.message_from_bytes(mail.content) for mail in relay.mails)
    assert first["Message-ID"] == second["Message-ID"]


def test_a_person_whom_the_relay_refuses_keeps_nobody_else_from_being_told(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    relay.refuse_recipient = "gone@example.net"
    with clock.frozen(NOON):
        for name in ("alice", "gone", "bób"):
            member(organisation, f"{name}@example.net")
        break_mx(make_domains(organisation, ["a.test"]))
    work(settings)
    for hours in range(1, 8):
        work(settings, SETTLED + timedelta(hours=hours))
    assert set(read(relay)) == {"alice@example.net"}
    errors = dict(Notification.objects.filter(sent_at=None).values_list("recipient", "error"))
    assert errors["gone@example.net"].endswith("550 5.1.1 no such person")
    assert errors["bób@example.net"].endswith("is no mail address that we can write to")
    assert ServiceState.objects.get(name=notifications.RELAY).ok is not None
    assert not OutboxItem.objects.exists(), "given up after five attempts"


def test_a_relay_that_refuses_everybody_loses_no_mail(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    relay.refusal = "554 5.7.1 Relay access denied"
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        recipient(make_domains(organisation, ["b.test"])[0], "ben@b.test")
        break_mx(Domain.objects.all())
    work(settings)
    now = SETTLED
    for _ in range(12):
        now += timedelta(minutes=15)
        work(settings, now)
    assert not ServiceState.objects.get(name=notifications.RELAY).ok
    relay.refusal = ""
    work(settings, now + timedelta(minutes=15))
    assert set(read(relay)) == {"alice@example.net", "ben@b.test"}


def test_who_was_refused_just_before_the_relay_was_mended_is_tried_once_more(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    relay.refusal = "554 5.7.1 Relay access denied"
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        member(organisation, "bob@example.net")
        break_mx(make_domains(organisation, ["a.test"]))
    for hours in range(6):
        work(settings, SETTLED + timedelta(hours=hours))
    assert [item.attempts for item in OutboxItem.objects.all()] == [6, 6]
    relay.mended_after = 1
    for hours in (6, 7):
        work(settings, SETTLED + timedelta(hours=hours))
    assert set(read(relay)) == {"alice@example.net", "bob@example.net"}


def test_while_a_notice_waits_it_is_what_shows_whether_the_relay_works(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    relay.refusal = "554 5.7.1 Relay access denied"
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        queue_notice(organisation.pk, None, "stopped", ["x"], page="/changes/7/")
    for minutes in range(10, 40, 5):
        work(settings, NOON + timedelta(minutes=minutes))
        with clock.frozen(NOON + timedelta(minutes=minutes)):
            async_to_sync(check_relay)(settings)
        assert not ServiceState.objects.get(name=notifications.RELAY).ok


@pytest.mark.parametrize("is_open", [True, False])
def test_what_was_given_up_goes_out_once_the_relay_takes_mail_again(
    organisation: Organisation, settings: Settings, relay: FakeRelay, is_open: bool
) -> None:
    relay.refusal = "554 5.7.1 Relay access denied"
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        break_mx(make_domains(organisation, ["a.test"]))
    work(settings)
    assert OutboxItem.objects.filter(kind="mail").exists()
    work(settings, now := SETTLED + timedelta(days=3))
    assert not OutboxItem.objects.filter(kind="mail").exists(), "given up after three days"
    relay.refusal = ""
    with clock.frozen(now):
        if not is_open:
            Problem.objects.update(closed_at=now)
        async_to_sync(send_test)(settings, "admin@example.net")
    relay.mails.clear()
    for hours in (1, 2, 100):
        work(settings, now + timedelta(hours=hours))
    assert [mail.recipients for mail in relay.mails] == [("alice@example.net",)] * is_open


def test_who_alone_is_refused_is_given_up_when_the_relay_has_taken_mail_of_another(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    relay.refuse_recipient = "gone@example.net"
    with clock.frozen(NOON):
        member(organisation, "gone@example.net")
        break_mx(make_domains(organisation, ["a.test"]))
    for hours in range(8):
        work(settings, SETTLED + timedelta(hours=hours))
    assert OutboxItem.objects.get().attempts == 8
    with clock.frozen(SETTLED + timedelta(hours=8)):
        async_to_sync(send_test)(settings, "admin@example.net")
    work(settings, SETTLED + timedelta(hours=9))
    assert not OutboxItem.objects.exists()


def test_a_problem_that_closes_while_the_relay_is_down_is_not_told_any_more(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    domains = make_domains(organisation, ["a.test"])
    with clock.frozen(NOON):
        member(organisation, "alice@example.net")
        break_mx(domains)
    work(Settings())
    report_success(domains, DAY + timedelta(days=1), "google.test")
    outbox.put("assess", str(domains[0].pk), available_at=NOON)
    work(settings, SETTLED + timedelta(hours=1))
    assert relay.mails == []
    assert not Notification.objects.exists()


def test_a_notice_leads_to_its_own_page_and_one_about_many_domains_to_the_people_alone(
    organisation: Organisation, settings: Settings, relay: FakeRelay
) -> None:
    with clock.frozen(NOON):
        [domain] = make_domains(organisation, ["a.test"])
        member(organisation, "alice@example.net")
        member(organisation, "quiet@example.net", notify=False)
        recipient(domain, "ann@a.test")
        subject, lines = waveletters.stopped("Shared\nplatform", 2, "12 refused sessions.")
        queue_notice(organisation.pk, None, subject, lines, page="/changes/7/")
    work(settings)
    assert set(read(relay)) == {"alice@example.net"}
    told = read(relay)["alice@example.net"]
    assert told["Subject"] == "The change of Shared platform was stopped"
    assert told.get_content().endswith(f"{settings.console_url}/changes/7/\r\n")
    relay.mails.clear()
    with clock.frozen(NOON):
        queue_notice(organisation.pk, domain.pk, "leaving", ["x"], page="/domains/a.test/policy/leave/")
    work(settings)
    assert set(read(relay)) == {"alice@example.net", "ann@a.test"}
    assert "/domains/a.test/policy/leave/" in read(relay)["ann@a.test"].get_content()
