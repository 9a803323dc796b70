"""What the overview of a domain adds up, and what it must not."""

from datetime import date, timedelta

import pytest

from mailward.store.models import DailyFailures, DailySessions, Domain, Organisation, Role, User
from mailward.store.queries import daily
from mailward.store.scope import Scope

DAY = date(2026, 8, 1)
WINDOW = daily.Window.ending(DAY, 7)


@pytest.fixture
def scope(organisation: Organisation, alice_user: User) -> Scope:
    return Scope(organisation.pk, alice_user.pk, Role.OWNER)


def sessions(domain: Domain, day: date = DAY, kind: str = "sts", who: str = "a.test", **counts: int) -> None:
    DailySessions.objects.create(
        organisation_id=domain.organisation_id,
        domain=domain,
        day=day,
        policy_type=kind,
        reporter=who,
        **counts,
    )


def failure(
    domain: Domain, *, result: str = "certificate-expired", host: str = "mx1.test", **values: object
) -> None:
    row: dict[str, object] = {
        "day": DAY,
        "policy_type": "sts",
        "reporter": "a.test",
        "sending_ip": "192.0.2.1",
    }
    DailyFailures.objects.create(
        organisation_id=domain.organisation_id,
        domain=domain,
        result_type=result,
        host=host,
        **{**row, "sessions": 1, **values},
    )


def test_policy_types_are_kept_apart_and_the_larger_comes_first(scope: Scope, domain: Domain) -> None:
    sessions(domain, kind="tlsa", ok=95, failed=5, reports=1)
    sessions(domain, kind="sts", ok=95, failed=6, reports=1)
    found = daily.timelines(scope, domain.pk, WINDOW)
    assert [(line.policy_type, line.ok, line.failed) for line in found] == [("sts", 95, 6), ("tlsa", 95, 5)]


def test_reporters_of_a_day_add_up_and_days_without_a_report_are_there(scope: Scope, domain: Domain) -> None:
    sessions(domain, who="a.test", ok=10, reports=1)
    sessions(domain, who="b.test", ok=5, failed=2, reports=2)
    (line,) = daily.timelines(scope, domain.pk, WINDOW)
    assert line.days[-1] == daily.Day(DAY, 15, 2, 3)
    assert line.days[0] == daily.Day(DAY - timedelta(days=6), 0, 0, 0)
    assert len(line.days) == 7


def test_days_outside_the_window_do_not_count(scope: Scope, domain: Domain) -> None:
    sessions(domain, day=DAY - timedelta(days=7), ok=10, reports=1)
    assert daily.timelines(scope, domain.pk, WINDOW) == ()
    assert daily.last_reported_day(scope, domain.pk) == DAY - timedelta(days=7)


def test_failures_are_seen_per_result_host_and_source(scope: Scope, domain: Domain) -> None:
    failure(domain, sessions=3)
    failure(domain, sessions=4, reporter="b.test", sending_ip="")
    failure(domain, sessions=1, result="starttls-not-supported")
    failure(domain, sessions=9, policy_type="tlsa")
    found = daily.failures(scope, domain.pk, "sts", WINDOW)
    assert found.results.rows == (
        daily.ResultRow("certificate-expired", "mx1.test", 7, 2, DAY, DAY),
        daily.ResultRow("starttls-not-supported", "mx1.test", 1, 1, DAY, DAY),
    )
    assert found.hosts.rows == (daily.HostRow("mx1.test", 8, 2, DAY),)
    assert found.sources.rows == (
        daily.SourceRow("a.test", "192.0.2.1", 4, DAY),
        daily.SourceRow("b.test", "", 4, DAY),
    )


def test_a_table_shows_its_largest_rows_and_counts_the_rest(scope: Scope, domain: Domain) -> None:
    for number in range(daily.MAX_ROWS + 3):
        failure(domain, sending_ip=f"192.0.2.{number}", sessions=number + 1)
    sources = daily.failures(scope, domain.pk, "sts", WINDOW).sources
    assert (len(sources.rows), sources.more, sources.rows[0].sessions) == (50, 3, 53)


def test_another_organisation_sees_nothing(
    strangers: Organisation, charlie_user: User, domain: Domain
) -> None:
    sessions(domain, ok=1, reports=1)
    failure(domain)
    stranger = Scope(strangers.pk, charlie_user.pk, Role.OWNER)
    assert daily.timelines(stranger, domain.pk, WINDOW) == ()
    assert daily.failures(stranger, domain.pk, "sts", WINDOW).results.rows == ()
    assert daily.reporters(stranger, domain.pk, "sts", WINDOW).rows == ()
