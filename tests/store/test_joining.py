"""People hear of each domain whose own MX records or policy are at fault, and once of what a shared host does wrong."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from tests.fakes.evidence import make_domains, make_organisation

from mailward.config import Problems
from mailward.net import clock
from mailward.store.models import (
    Domain,
    DomainRecipient,
    Membership,
    Notice,
    Organisation,
    OutboxItem,
    ProblemDomain,
    Role,
    User,
)
from mailward.store.services import joining, notifications, outbox
from mailward.store.services.findings import Cause, leave_causes, open_cause

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
UNCOVERED = "mx-not-in-policy"
HOST = "mx2.example.net"


@pytest.fixture
def organisation() -> Organisation:
    made = make_organisation()
    user = User.objects.create(email="alice@example.net")
    Membership.objects.create(organisation=made, user=user, role=Role.READER, notify=True)
    return made


def show(domains: Sequence[Domain], at: datetime, code: str = UNCOVERED, host: str = HOST) -> None:
    with clock.frozen(at):
        for domain in domains:
            open_cause(Cause(domain.organisation_id, domain.pk, code, host), Problems())


def work(at: datetime) -> tuple[int, int]:
    """Mails about problems, and about those that joined."""
    with clock.frozen(at):
        due = OutboxItem.objects.filter(available_at__lte=at)
        problems = [int(key) for key in due.filter(kind="notify").values_list("key", flat=True)]
        joined = [joining.read_key(key) for key in due.filter(kind="joined").values_list("key", flat=True)]
        due.delete()
        return notifications.queue(problems, "example.net"), joining.tell(joined)


def minutes(count: int) -> datetime:
    return NOON + timedelta(minutes=count)


@pytest.mark.parametrize("code", ["mx-not-in-policy", "mx-follow-held", "mx-host-left"])
def test_people_hear_of_a_domain_that_joins(organisation: Organisation, code: str) -> None:
    first, *others = make_domains(organisation, ["a.test", "b.test", "c.test"])
    DomainRecipient.objects.create(organisation=organisation, domain=others[0], email="ben@b.test")
    show([first], NOON, code)
    assert work(minutes(10)) == (1, 0)
    show(others, minutes(60), code)
    assert work(minutes(69)) == (0, 0)
    assert work(minutes(70)) == (0, 2)
    alice, ben = Notice.objects.order_by("recipient")
    assert [line.strip() for line in alice.lines if line.startswith("  ")] == ["b.test", "c.test"]
    assert alice.subject.startswith("2 domains: ")
    assert HOST in alice.subject
    assert (ben.recipient, ben.domain, ben.subject[:8]) == ("ben@b.test", others[0], "b.test: ")
    assert "c.test" not in "".join(ben.lines)
    assert ["told of this before" in each.lines[0] for each in (alice, ben)] == [True, False]
    show(others, minutes(80), code)  # no news
    assert work(minutes(200)) == (0, 0)


def test_a_fault_of_the_shared_host_is_told_once(organisation: Organisation) -> None:
    first, second = make_domains(organisation, ["a.test", "b.test"])
    show([first], NOON, "certificate-expired")
    assert work(minutes(10)) == (1, 0)
    show([second], minutes(60), "certificate-expired")
    assert work(minutes(100)) == (0, 0)


def test_a_domain_that_comes_back_is_news_and_one_that_is_gone_again_is_not(
    organisation: Organisation,
) -> None:
    first, second = make_domains(organisation, ["a.test", "b.test"])
    show([first, second], NOON)
    assert work(minutes(10)) == (1, 0)
    leave_causes(second.pk, HOST, [UNCOVERED])
    show([second], minutes(60))
    assert work(minutes(70)) == (0, 1)
    leave_causes(second.pk, HOST, [UNCOVERED])
    show([second], minutes(200))
    leave_causes(second.pk, HOST, [UNCOVERED])
    assert work(minutes(300)) == (0, 0)


def test_ten_thousand_domains_that_join_are_one_mail_each_person(organisation: Organisation) -> None:
    first, *others = make_domains(organisation, [f"d{number}.test" for number in range(10_001)])
    show([first], NOON)
    assert work(NOON) == (1, 0)
    show(others[:1], minutes(1))
    # the others as open_cause leaves them: one by one they would take a minute
    row = ProblemDomain.objects.get(domain=others[0])
    day = {"first_day": NOON.date(), "last_day": NOON.date(), "is_reported": False, "is_checked": True}
    ProblemDomain.objects.bulk_create(
        ProblemDomain(problem_id=row.problem_id, domain=each, organisation=organisation, **day)
        for each in others[1:]
    )
    keys = [joining.Joined(row.problem_id, each.pk, UNCOVERED) for each in others[1:]]
    outbox.put_many(outbox.Item(joining.KIND, each.key, None, minutes(11)) for each in keys)
    assert work(minutes(11)) == (0, 1)
    notice = Notice.objects.get()
    assert notice.subject == f"10,000 domains: {HOST} is not in the policy"
    assert "  and 9,970 more" in notice.lines
    assert len(notice.lines) < 60


def test_whoever_lets_domains_join_all_day_causes_a_few_mails(organisation: Organisation) -> None:
    first, *others = make_domains(organisation, [f"d{number}.test" for number in range(145)])
    show([first], NOON)
    assert work(NOON) == (1, 0)
    for number, domain in enumerate(others):
        show([domain], minutes(10 * number))
        work(minutes(10 * number))
    assert 5 <= Notice.objects.count() <= 10
    # nobody is forgotten
    work(minutes(10 * 144 + 241))
    told = {
        line.strip() for notice in Notice.objects.all() for line in notice.lines if line.startswith("  d")
    }
    told |= {notice.subject.partition(":")[0] for notice in Notice.objects.all()}
    assert not OutboxItem.objects.filter(kind="joined").exists()
    assert "d144.test" in told


def test_many_hosts_in_one_mail_stay_readable(organisation: Organisation) -> None:
    first, second = make_domains(organisation, ["a.test", "b.test"])
    for number in range(12):
        show([first], NOON, host=f"mx{number}.test")
    assert work(NOON)[0] > 0
    for number in range(12):
        show([second], minutes(1), ("mx-not-in-policy", "mx-host-left")[number % 2], f"mx{number}.test")
    OutboxItem.objects.filter(kind="notify").delete()
    assert work(minutes(11)) == (0, 1)
    assert Notice.objects.get().page.startswith("/problems/")
