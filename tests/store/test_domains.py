import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from mailward.core.names import parse_domain
from mailward.net import clock
from mailward.store.models import (
    DailySessions,
    Domain,
    HostingGeneration,
    Organisation,
    Problem,
    ProblemDomain,
    RecordCheck,
    User,
)
from mailward.store.queries.domains import PAGE_SIZE, RecordsSummary, Sessions, Show, list_domains, summarise
from mailward.store.scope import Scope, scope_of
from mailward.store.services import domains as service


@dataclass(frozen=True)
class Seen:
    key: str
    state: str
    detail: str = ""
    observed: tuple[str, ...] = ()


def scope(user: User) -> Scope:
    found = scope_of(user)
    assert found is not None
    return found


def generation() -> int:
    return HostingGeneration.objects.values_list("value", flat=True).first() or 0


def test_a_domain_gets_tokens_of_its_own(alice_user: User) -> None:
    names = [parse_domain("one.test"), parse_domain("two.test")]
    one, two = service.create_domains(scope(alice_user), names).created
    assert len({one.report_token, two.report_token, one.claim_token, two.claim_token}) == 4
    assert one.report_token == one.report_token.lower()


def test_a_label_of_our_zone_is_not_guessed_and_never_given_again(alice_user: User) -> None:
    """Who published a CNAME to it years ago must not serve somebody else's domain by it."""
    given = []
    for _ in range(50):
        domain = service.create_domain(scope(alice_user), parse_domain("again.test"))
        given.append(domain.delegation_token)
        service.delete_domain(scope(alice_user), domain.pk)
    assert len(set(given)) == 50
    # 100 bits, in letters that no resolver and no reader takes for others
    assert all(re.fullmatch(r"[a-km-z2-9]{20}", label) for label in given)


def test_a_domain_that_is_there_is_named_and_not_made_twice(alice_user: User, domain: Domain) -> None:
    names = [parse_domain("new.test"), parse_domain(domain.name), parse_domain("NEW.test")]
    added = service.create_domains(scope(alice_user), names)
    assert [each.name for each in added.created] == ["new.test"]
    assert added.already_there == (domain.name,)
    with pytest.raises(service.DomainExists):
        service.create_domain(scope(alice_user), parse_domain(domain.name))


def test_two_organisations_may_add_the_same_domain_but_one_proves_it(
    charlie_user: User, domain: Domain
) -> None:
    theirs = service.create_domain(scope(charlie_user), parse_domain(domain.name))
    assert service.verify_claim(domain.pk)
    assert not service.verify_claim(domain.pk)
    service.record_states(domain.pk, [Seen("claim", "right")])
    with pytest.raises(service.ClaimHeld):
        service.verify_claim(theirs.pk)


def test_a_claim_whose_record_is_gone_gives_way_to_a_new_one(charlie_user: User, domain: Domain) -> None:
    theirs = service.create_domain(scope(charlie_user), parse_domain(domain.name))
    service.verify_claim(domain.pk)
    service.record_states(domain.pk, [Seen("claim", "missing")])
    before = generation()
    assert service.verify_claim(theirs.pk)
    assert Domain.objects.get(pk=domain.pk).claim_verified_at is None
    assert generation() > before


def test_the_last_answer_to_each_record_is_kept(domain: Domain) -> None:
    service.record_states(domain.pk, [Seen("claim", "missing"), Seen("mta-sts", "wrong", "old", ("a",))])
    service.record_states(domain.pk, [Seen("claim", "right")])
    kept = {check.record: (check.state, check.observed) for check in RecordCheck.objects.all()}
    assert kept == {"claim": ("right", []), "mta-sts": ("wrong", ["a"])}
    domain.refresh_from_db()
    assert domain.records_checked_at is not None


def test_recipients_are_few_and_each_is_there_once(alice_user: User, domain: Domain) -> None:
    us = scope(alice_user)
    one = service.add_recipient(us, domain.pk, " Ops@Example.Test ")
    assert service.add_recipient(us, domain.pk, "ops@example.test") == one
    for number in range(service.MAX_RECIPIENTS - 1):
        service.add_recipient(us, domain.pk, f"{number}@example.test")
    with pytest.raises(service.TooManyRecipients):
        service.add_recipient(us, domain.pk, "one-more@example.test")
    assert service.remove_recipient(us, domain.pk, one.pk)


def test_a_stranger_can_neither_remove_a_domain_nor_listen_to_it(charlie_user: User, domain: Domain) -> None:
    with pytest.raises(Domain.DoesNotExist):
        service.delete_domain(scope(charlie_user), domain.pk)
    with pytest.raises(Domain.DoesNotExist):
        service.add_recipient(scope(charlie_user), domain.pk, "charlie@charlie.test")


def add_sessions(domain: Domain, day: date, policy_type: str, ok: int, failed: int) -> None:
    DailySessions.objects.create(
        organisation=domain.organisation,
        domain=domain,
        day=day,
        policy_type=policy_type,
        reporter=f"{ok}.test",
        ok=ok,
        failed=failed,
    )


def test_the_list_counts_sessions_of_the_busiest_policy_type_only(alice_user: User, domain: Domain) -> None:
    today = clock.today()
    add_sessions(domain, today, "sts", 90, 5)
    add_sessions(domain, today - timedelta(days=6), "sts", 10, 0)
    add_sessions(domain, today, "tlsa", 95, 0)
    add_sessions(domain, today - timedelta(days=30), "sts", 1000, 0)
    assert list_domains(scope(alice_user)).rows[0].sessions == Sessions(ok=100, failed=5)


def test_no_reports_are_not_no_failures(alice_user: User, domain: Domain) -> None:
    assert list_domains(scope(alice_user)).rows[0].sessions is None


SUMMARIES: list[tuple[list[str], RecordsSummary]] = [
    ([], RecordsSummary.UNCHECKED),
    (["right", "right"], RecordsSummary.RIGHT),
    (["right", "missing"], RecordsSummary.INCOMPLETE),
    (["missing", "conflicting"], RecordsSummary.WRONG),  # the worst that is known wins
    (["right", "unknown"], RecordsSummary.UNKNOWN),
    (["missing", "unknown"], RecordsSummary.INCOMPLETE),
]


@pytest.mark.parametrize(("states", "expected"), SUMMARIES)
def test_one_word_says_how_the_records_are(states: list[str], expected: RecordsSummary) -> None:
    assert summarise(states) is expected


def test_the_list_can_be_narrowed(alice_user: User, domain: Domain, organisation: Organisation) -> None:
    us = scope(alice_user)
    right = service.create_domain(us, parse_domain("right.test"))
    service.record_states(right.pk, [Seen("claim", "right")])
    now = clock.now()
    problem = Problem.objects.create(
        organisation=organisation, result_type="starttls-not-supported", host="mx.example.test",
        opened_at=now, first_day=now.date(), last_day=now.date(),
    )  # fmt: skip
    ProblemDomain.objects.create(
        problem=problem, domain=right, organisation=organisation, first_day=now.date(), last_day=now.date()
    )
    assert names(us, show=Show.PROBLEMS) == ["right.test"]
    assert names(us, show=Show.RECORDS) == ["example.test"]
    assert names(us, show=Show.UNSERVED) == ["example.test", "right.test"]
    assert names(us, search=" EXAMPLE") == ["example.test"]


def test_a_name_in_another_script_is_found_as_it_is_written(alice_user: User) -> None:
    service.create_domain(scope(alice_user), parse_domain("müller.test"))
    assert names(scope(alice_user), search="Müller") == ["xn--mller-kva.test"]
    assert names(scope(alice_user), search="mü ller..") == []


def names(scope: Scope, **narrowing: Any) -> list[str]:
    return [row.name for row in list_domains(scope, **narrowing).rows]


def test_a_page_of_ten_thousand_takes_as_many_queries_as_a_page_of_one(
    alice_user: User,
    organisation: Organisation,
    django_assert_num_queries: Any,
) -> None:
    us = scope(alice_user)
    service.create_domains(us, [parse_domain(f"d{number:05}.test") for number in range(10_000)])
    with django_assert_num_queries(5):
        page = list_domains(us, number=200)
    assert (page.total, page.pages, page.rows[-1].name) == (10_000, 200, "d09999.test")
    assert len(page.rows) == PAGE_SIZE


def test_removing_a_domain_removes_what_came_for_it(alice_user: User, domain: Domain) -> None:
    service.record_states(domain.pk, [Seen("claim", "right")])
    add_sessions(domain, clock.today(), "sts", 1, 0)
    before = generation()
    service.delete_domain(scope(alice_user), domain.pk)
    assert not Domain.objects.exists()
    assert not DailySessions.objects.exists()
    # once when its policy is served no longer, once when its name is gone
    assert generation() == before + 2
