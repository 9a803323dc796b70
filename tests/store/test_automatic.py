"""Enforcing by itself, chosen for a profile, for many at once and by a list; every domain's history has it."""

import time

import pytest
from tests.fakes.evidence import make_domains, make_organisation

from mailward.core.importing.verdict import Decision, Verdict
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain as Name
from mailward.net.listing import read_listing
from mailward.store.models import (
    AutomaticChoice,
    Domain,
    DomainEvent,
    Organisation,
    OutboxItem,
    PolicyProfile,
    Rollout,
    User,
)
from mailward.store.scope import Scope
from mailward.store.services import automatic, history, importing, profiles
from mailward.store.services.automatic import Choice
from mailward.store.services.rollout import choose

TESTING = Policy(Mode.TESTING, 86_400, ("mx.test",))
pytestmark = pytest.mark.django_db


@pytest.fixture
def profile(scope: Scope, organisation: Organisation) -> PolicyProfile:
    made = profiles.create_profile(scope, "Shared platform", TESTING)
    make_domains(organisation, ["one.test", "two.test"])
    profiles.add_members(scope, made.pk, [Name("one.test"), Name("two.test")])
    return made


def chosen() -> dict[str, int]:
    """The days of those that are enforced by themselves."""
    rows = Rollout.objects.filter(is_automatic=True)
    return dict(rows.values_list("domain__name", "hold_days"))


def test_a_profile_turns_it_on_for_its_domains_and_for_those_that_join_and_off_again(
    scope: Scope, profile: PolicyProfile, organisation: Organisation
) -> None:
    make_domains(organisation, ["late.test", "other.test"])
    assert automatic.choose_for_profile(scope, profile.pk, Choice(True, 14)).changed == 2
    profiles.add_members(scope, profile.pk, [Name("late.test")])
    assert chosen() == {"one.test": 14, "two.test": 14, "late.test": 14}
    assert automatic.choose_for_profile(scope, profile.pk, Choice(True, 14)).changed == 0
    assert automatic.choose_for_profile(scope, profile.pk, Choice(False)).changed == 3
    assert chosen() == {}
    told = DomainEvent.objects.filter(domain__name="late.test").order_by("id")
    assert list(told.values_list("kind", "text", "reason", "author__email")) == [
        (
            "rollout-chosen",
            "Enforce automatically after 14 days of readiness.",
            "For the domains of the profile Shared platform.",
            User.objects.get(pk=scope.user_id).email,
        ),
        (
            "rollout-chosen",
            "Enforce by hand only.",
            "For the domains of the profile Shared platform.",
            User.objects.get(pk=scope.user_id).email,
        ),
    ]


def test_a_choice_for_many_leaves_the_step_back_and_what_strangers_have_alone(
    scope: Scope, domain: Domain
) -> None:
    [strange] = make_domains(make_organisation("Strangers"), ["strange.test"])
    choose(scope, [domain.pk], is_automatic=False, hold_days=7, steps_back=True)
    assert automatic.choose_for(scope, [domain.pk, strange.pk], Choice(True, 3), reason="").changed == 1
    row = Rollout.objects.get()
    assert (row.domain_id, row.is_automatic, row.hold_days, row.steps_back) == (domain.pk, True, 3, True)


def test_a_list_says_of_each_domain_whether_and_goes_before_the_profile(
    scope: Scope, profile: PolicyProfile
) -> None:
    automatic.choose_for_profile(scope, profile.pk, Choice(True, 30))
    text = "domain,automatic\na.test,yes\nb.test,21\nc.test,no\nd.test,\n"
    made = importing.begin(
        scope.organisation_id, scope.user_id, read_listing(text.encode()), "x.csv", profile.pk
    )
    new = Decision(Verdict.NEW, TESTING)
    importing.keep_decisions(made.pk, dict.fromkeys(range(1, 5), new))
    importing.end_looking(made.pk)
    importing.start(scope.organisation_id, made.pk)
    while importing.carry_out_some(made.pk):
        pass
    # yes is a week, as the pages have it
    assert chosen() == {"one.test": 30, "two.test": 30, "a.test": 7, "b.test": 21, "d.test": 30}
    reason = DomainEvent.objects.get(domain__name="b.test", kind="rollout-chosen").reason
    assert reason == "Imported: x.csv"


@pytest.mark.parametrize("value", ["maybe", "366", "-1", "1.5", "٣"])
def test_a_list_that_says_something_else_is_told_so(value: str) -> None:
    listing = read_listing(f"domain,automatic\na.test,{value}\n".encode())
    assert listing.wishes == ()
    assert listing.refused[0].reason == f"automatic {value!r} is not yes, no or a number of days up to 365"


def work(kept: AutomaticChoice) -> AutomaticChoice:
    """As the worker does it, from where it is."""
    while automatic.step(kept.pk):
        pass
    kept.refresh_from_db()
    return kept


@pytest.fixture
def many(organisation: Organisation) -> list[int]:
    return [each.pk for each in make_domains(organisation, [f"d{n:04}.test" for n in range(1_200)])]


def test_more_than_one_transaction_holds_goes_on_where_it_was_killed(
    scope: Scope, many: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = automatic.choose_for(scope, many, Choice(True, 3), reason="For many at once.")
    assert chosen() == {}
    assert OutboxItem.objects.filter(kind="choose", key=str(kept.pk)).exists()
    assert automatic.step(kept.pk)
    with monkeypatch.context() as patched:
        # killed within the second transaction, when its domains are written and nothing else
        patched.setattr(history, "make", _die)
        with pytest.raises(KeyboardInterrupt):
            automatic.step(kept.pk)
    assert len(chosen()) == 500
    kept = work(kept)
    assert (kept.done, kept.changed, kept.ids) == (1_200, 1_200, [])
    assert len(chosen()) == 1_200
    assert DomainEvent.objects.filter(kind="rollout-chosen").count() == 1_200


def _die(*_arguments: object, **_words: object) -> DomainEvent:
    raise KeyboardInterrupt


def test_what_was_chosen_later_is_not_overruled_by_a_choice_that_comes_late(
    scope: Scope, many: list[int]
) -> None:
    first = automatic.choose_for(scope, many, Choice(True, 3), reason="")
    # as it is already, but a person has said so since
    choose(scope, many[-1:], is_automatic=False, hold_days=7, steps_back=False)
    second = automatic.choose_for(scope, many[:600], Choice(False), reason="")
    work(second)
    assert work(first).changed == 1_200 - 600 - 1
    days = chosen()
    assert (len(days), "d0000.test" in days, "d0600.test" in days, "d1199.test" in days) == (
        599,
        False,
        True,
        False,
    )


def test_a_domain_that_is_gone_meanwhile_holds_nothing_up(scope: Scope, many: list[int]) -> None:
    kept = automatic.choose_for(scope, many, Choice(True), reason="")
    Domain.objects.filter(pk=many[700]).delete()
    assert work(kept).changed == 1_199


@pytest.mark.long
def test_ten_thousand_domains_are_turned_on_and_off_while_others_write(
    scope: Scope, profile: PolicyProfile, organisation: Organisation
) -> None:
    make_domains(organisation, [f"d{n}.test" for n in range(10_000)])
    profiles.add_members(scope, profile.pk, None)
    start = time.process_time()
    for choice in (Choice(True), Choice(False)):
        assert work(automatic.choose_for_profile(scope, profile.pk, choice)).changed == 10_002
    seconds = time.process_time() - start
    assert seconds < 30, "3 s were measured"
