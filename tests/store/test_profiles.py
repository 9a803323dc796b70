"""One edit for many domains: preview, waves, the stop, undo."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db.models import F
from tests.core.check import made
from tests.fakes.evidence import make_domains, report_failures
from tests.fakes.looks import look_at

from mailward.config import Problems, Settings
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.names import Domain as Name
from mailward.net import clock
from mailward.notify import waveletters
from mailward.store.models import (
    ChangeState,
    Domain,
    Effect,
    HostingGeneration,
    Notice,
    Organisation,
    OutboxItem,
    PolicyProfile,
    PolicyVersion,
    ProblemDomain,
    ProfileChange,
    User,
)
from mailward.store.queries.profiles import count_told
from mailward.store.scope import Scope, scope_of
from mailward.store.services import leaving, profiles, waves
from mailward.store.services.bulk_policies import Wanted, publish_policies
from mailward.store.services.policies import publish_policy
from mailward.store.services.problems import assess

NOON = made.NOW.replace(hour=12, minute=0, second=0, microsecond=0)
TESTING = Policy(Mode.TESTING, 86_400, ("mx.test",))
LONGER = replace(TESTING, max_age_seconds=604_800)
OWN = Policy(Mode.TESTING, 604_800)

pytestmark = pytest.mark.django_db


@pytest.fixture
def profile(scope: Scope) -> PolicyProfile:
    return profiles.create_profile(scope, "Shared platform", TESTING)


@pytest.fixture
def fleet(organisation: Organisation, scope: Scope, profile: PolicyProfile) -> list[Domain]:
    """A hundred members with the same policy."""
    domains = make_domains(organisation, [f"d{n:03}.test" for n in range(100)])
    publish_policies(
        organisation.pk, [Wanted(each.pk, TESTING, 0) for each in domains], author_id=None, reason="first"
    )
    assert profiles.add_members(scope, profile.pk, None) == 100
    return domains


def work(change: ProfileChange) -> ProfileChange:
    while waves.step(change.pk):
        pass
    return ProfileChange.objects.get(pk=change.pk)


def propose(scope: Scope, profile: PolicyProfile, policy: Policy = LONGER, hours: int = 24) -> ProfileChange:
    return work(profiles.propose_change(scope, profile.pk, policy, reason="longer", wave_hours=hours))


def with_longer() -> int:
    return Domain.objects.filter(current_version__max_age_seconds=604_800).count()


def test_many_policies_are_published_as_one_would_be(organisation: Organisation) -> None:
    domains = make_domains(organisation, ["a.test", "b.test"])
    one = publish_policy(organisation.pk, domains[0].pk, TESTING, author_id=None)
    HostingGeneration.objects.update(value=0)
    OutboxItem.objects.all().delete()
    outcomes = publish_policies(
        organisation.pk, [Wanted(domains[0].pk, LONGER, one.pk), Wanted(domains[1].pk, LONGER, 0)],
        author_id=None, reason="why",
    )  # fmt: skip
    made_now = [outcomes[each.pk].version for each in domains]
    assert [(each.number, each.reason) for each in made_now if each] == [(2, "why"), (1, "why")]
    assert [Domain.objects.get(pk=each.pk).current_version for each in domains] == made_now
    assert HostingGeneration.objects.get().value == 1
    assert sorted(OutboxItem.objects.values_list("kind", flat=True)) == ["announce"] * 2


def test_what_changed_meanwhile_is_left_alone(organisation: Organisation) -> None:
    (domain,) = make_domains(organisation, ["a.test"])
    publish_policy(organisation.pk, domain.pk, TESTING, author_id=None)
    outcome = publish_policies(organisation.pk, [Wanted(domain.pk, LONGER, 0)], author_id=None, reason="")
    assert outcome[domain.pk].reason == "Its policy was changed meanwhile."
    assert PolicyVersion.objects.count() == 1


def test_the_preview_tells_each_domains_effect(
    scope: Scope, profile: PolicyProfile, organisation: Organisation
) -> None:
    same, other, none = make_domains(organisation, ["same.test", "other.test", "none.test"])
    publish_policy(organisation.pk, same.pk, replace(OWN, mx=("mx.same.test",)), author_id=None)
    publish_policy(organisation.pk, other.pk, replace(TESTING, mx=("mx.other.test",)), author_id=None)
    profiles.add_members(scope, profile.pk, [Name(each.name) for each in (same, other, none)])
    change = propose(scope, profile, OWN)
    assert change.state == ChangeState.DRAFT
    effects = {row.domain_id: (row.effect, row.reason) for row in change.domains.all()}
    assert effects == {
        same.pk: (Effect.SAME, ""),
        other.pk: (Effect.CHANGED, ""),
        none.pk: (Effect.REFUSED, "The domain has no policy whose MX hosts it could keep."),
    }
    assert PolicyVersion.objects.count() == 2


def test_enforce_is_refused_where_it_would_lock_mail_out(
    scope: Scope, profile: PolicyProfile, domain: Domain
) -> None:
    with clock.frozen(NOON):
        publish_policy(domain.organisation_id, domain.pk, replace(TESTING, mx=(made.MX,)), author_id=None)
        profiles.add_members(scope, profile.pk, None)
        unseen = propose(scope, profile, replace(OWN, mode=Mode.ENFORCE))
        assert "could not be learnt" in unseen.domains.get().reason
        look_at(domain, made.facts(at=NOON), Settings())
        assert propose(scope, profile, replace(OWN, mode=Mode.ENFORCE)).domains.get().effect == Effect.CHANGED
        uncovered = propose(scope, profile, Policy(Mode.ENFORCE, 604_800, ("mx.elsewhere.test",)))
    assert uncovered.domains.get().effect == Effect.REFUSED
    assert f"{made.MX} is an MX host and not in the policy" in uncovered.domains.get().reason


def test_a_domain_that_leaves_is_left_alone(scope: Scope, profile: PolicyProfile, domain: Domain) -> None:
    publish_policy(domain.organisation_id, domain.pk, TESTING, author_id=None)
    profiles.add_members(scope, profile.pk, None)
    leaving.begin(domain.organisation_id, domain.pk, author_id=None)
    row = propose(scope, profile, LONGER).domains.get()
    assert (row.effect, row.reason) == (Effect.REFUSED, "It is leaving MTA-STS: break that off first.")


def test_the_waves_go_out_one_after_the_other(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain]
) -> None:
    with clock.frozen(NOON):
        change = propose(scope, profile)
        assert with_longer() == 0
        assert profiles.start(scope, change.pk)
        assert work(change).state == ChangeState.WAITING
        assert with_longer() == 1
        waves.put_due(waveletters.stopped)
    with clock.frozen(NOON + timedelta(hours=23)):
        assert waves.put_due(waveletters.stopped) == 0
    with clock.frozen(NOON + timedelta(hours=24)):
        assert waves.put_due(waveletters.stopped) == 1
        work(change)
        assert with_longer() == 10
    with clock.frozen(NOON + timedelta(hours=48)):
        waves.put_due(waveletters.stopped)
        assert work(change).state == ChangeState.DONE
    assert with_longer() == 100
    assert (
        PolicyVersion.objects.filter(
            number=2, author_id=scope.user_id, reason__startswith="Profile Shared"
        ).count()
        == 100
    )
    assert PolicyProfile.objects.get().max_age_seconds == 604_800


def test_the_next_wave_waits_until_senders_can_see_the_one_before(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain]
) -> None:
    Domain.objects.update(announced_version=F("current_version"))
    never_told = Domain.objects.order_by("pk")[:5]
    Domain.objects.filter(pk__in=list(never_told.values_list("pk", flat=True))).update(announced_version=None)
    with clock.frozen(NOON):
        change = propose(scope, profile, hours=0)
        profiles.start(scope, change.pk)
        change = work(change)
        Domain.objects.filter(pk__in=[each.pk for each in in_wave(change, 1)]).update(
            announced_version=F("current_version")
        )
        assert waves.put_due(waveletters.stopped) == 1, "no sender was told of another policy"
        change = work(change)
        told = count_told(change)
        assert (told.late + told.silent, told.is_most) == (9, False)
        assert waves.put_due(waveletters.stopped) == 0
        # a domain of which no id was ever told is not set up, and holds up nobody
        moved = Domain.objects.filter(pk__in=[each.pk for each in in_wave(change, 2)])
        moved.exclude(announced_version=None).update(announced_version=F("current_version"))
        assert waves.put_due(waveletters.stopped) == 1
    assert profiles.under_way(profile)


@pytest.mark.parametrize("state", [ChangeState.RUNNING, ChangeState.UNDOING])
def test_a_batch_that_two_workers_have_is_done_once(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain], monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """One was slow, and its work was given to another."""
    change = propose(scope, profile)
    profiles.start(scope, change.pk)
    if state == ChangeState.UNDOING:
        work(change)
        profiles.undo(scope, change.pk)
    name = "weigh" if state == ChangeState.RUNNING else "_why_not_back"
    slow = getattr(waves, name)
    others: list[bool] = []

    def overtaken(*args: object) -> object:
        found = slow(*args)
        if not others:
            others.append(True)
            assert waves.step(change.pk)
        return found

    monkeypatch.setattr(waves, name, overtaken)
    waves.step(change.pk)
    assert others
    (row,) = change.domains.filter(wave=1)
    assert (row.effect, row.reason) == (Effect.CHANGED, "")
    assert row.domain.versions.count() == (2 if state == ChangeState.RUNNING else 3)


def test_a_person_need_not_wait_for_the_ids(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain]
) -> None:
    Domain.objects.update(announced_version=F("current_version"))
    change = propose(scope, profile, hours=0)
    profiles.start(scope, change.pk)
    work(change)
    assert waves.put_due(waveletters.stopped) == 0
    assert profiles.start(scope, change.pk)
    work(change)
    assert with_longer() == 10


def in_wave(change: ProfileChange, wave: int) -> list[Domain]:
    ids = change.domains.filter(wave=wave).values_list("domain_id", flat=True)
    return list(Domain.objects.filter(pk__in=list(ids)))


def test_a_problem_in_the_wave_stops_the_next(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain]
) -> None:
    with clock.frozen(NOON):
        change = propose(scope, profile)
        profiles.start(scope, change.pk)
        work(change)
    touched = in_wave(change, 1)
    for reporter in ("google.com", "microsoft.com"):
        report_failures(touched, (NOON + timedelta(days=1)).date(), reporter, host="mx.test")
    with clock.frozen(NOON + timedelta(days=2)):
        assess([each.pk for each in touched], Problems())
        waves.put_due(waveletters.stopped)
        stopped = work(change)
    assert stopped.state == ChangeState.STOPPED
    assert "certificate-expired at mx.test" in stopped.stop_reason
    assert with_longer() == 1


def test_one_that_joins_a_problem_of_others_on_the_same_day_stops_it_too(
    scope: Scope, profile: PolicyProfile, organisation: Organisation, fleet: list[Domain]
) -> None:
    expired = made.facts(hosts=(made.host(made.session(tls=made.tls("expired", 10))),))
    [other] = make_domains(organisation, ["other.test"])
    for hours, facts in ((-5, made.facts()), (-4, expired), (-3, expired)):
        with clock.frozen(NOON + timedelta(hours=hours)):
            look_at(other, replace(facts, at=clock.now()))
    assert ProblemDomain.objects.count() == 1
    for each in fleet:
        with clock.frozen(NOON - timedelta(hours=2)):
            look_at(each, made.facts(at=clock.now()))
    with clock.frozen(NOON):
        change = propose(scope, profile)
        profiles.start(scope, change.pk)
        work(change)
        waves.put_due(waveletters.stopped)
        assert ProfileChange.objects.get(pk=change.pk).state == ChangeState.WAITING
    for hours in (1, 2):
        with clock.frozen(NOON + timedelta(hours=hours)):
            look_at(in_wave(change, 1)[0], replace(expired, at=clock.now()))
            waves.put_due(waveletters.stopped)
    assert f"certificate-expired at {made.MX}" in ProfileChange.objects.get(pk=change.pk).stop_reason


def test_a_problem_elsewhere_stops_nothing(scope: Scope, profile: PolicyProfile, fleet: list[Domain]) -> None:
    with clock.frozen(NOON):
        change = propose(scope, profile)
        profiles.start(scope, change.pk)
        work(change)
    for reporter in ("google.com", "microsoft.com"):
        report_failures(in_wave(change, 3)[:1], (NOON + timedelta(days=1)).date(), reporter, host="mx.test")
    with clock.frozen(NOON + timedelta(days=2)):
        assess([each.pk for each in in_wave(change, 3)], Problems())
        waves.put_due(waveletters.stopped)
        assert work(change).state == ChangeState.WAITING
    assert with_longer() == 10


def test_reported_refusals_stop_a_wave_before_they_are_a_problem(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain]
) -> None:
    with clock.frozen(NOON):
        change = propose(scope, profile)
        profiles.start(scope, change.pk)
        work(change)
    report_failures(in_wave(change, 1), (NOON + timedelta(days=1)).date(), "google.com", failed=12)
    with clock.frozen(NOON + timedelta(days=1, hours=1)):
        waves.put_due(waveletters.stopped)
        assert "12 refused sessions of 111" in ProfileChange.objects.get(pk=change.pk).stop_reason
        [notice] = Notice.objects.all()
        assert notice.recipient == scope.user().email
        assert (notice.subject, notice.page) == (
            "The change of Shared platform was stopped",
            f"/changes/{change.pk}/",
        )
        assert "12 refused sessions of 111" in " ".join(notice.lines)
        # whoever has looked may go on
        assert profiles.start(scope, change.pk)
        assert work(change).state == ChangeState.WAITING


def test_undo_gives_each_domain_back_what_it_had(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain]
) -> None:
    change = propose(scope, profile, hours=0)
    profiles.start(scope, change.pk)
    work(change)
    for _ in range(2):
        waves.put_due(waveletters.stopped)
        work(change)
    somebody = fleet[0]
    publish_policy(somebody.organisation_id, somebody.pk, replace(TESTING, mx=("mine.test",)), author_id=None)
    assert profiles.undo(scope, change.pk)
    assert work(change).state == ChangeState.UNDONE
    assert Domain.objects.filter(current_version__text__contains="max_age: 86400").count() == 100
    kept = change.domains.get(domain=somebody)
    assert kept.reason == "Not undone: Its policy was changed meanwhile."
    assert not profiles.undo(scope, change.pk)


def test_a_preview_keeps_nobody_from_undoing(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain]
) -> None:
    change = propose(scope, profile, hours=0)
    profiles.start(scope, change.pk)
    for _ in range(3):
        work(change)
        waves.put_due(waveletters.stopped)
    assert ProfileChange.objects.get(pk=change.pk).state == ChangeState.DONE
    preview = propose(scope, profile, OWN)
    assert profiles.undo(scope, change.pk)
    assert not profiles.start(scope, preview.pk)
    assert work(change).state == ChangeState.UNDONE


def test_undo_enforces_nothing_that_would_lock_mail_out_now(
    scope: Scope, profile: PolicyProfile, organisation: Organisation
) -> None:
    stays, moves = make_domains(organisation, ["stays.test", "moves.test"])
    enforce = Policy(Mode.ENFORCE, 604_800, (made.MX,))
    with clock.frozen(NOON):
        for each in (stays, moves):
            publish_policy(each.organisation_id, each.pk, enforce, author_id=None)
        profiles.add_members(scope, profile.pk, None)
        change = propose(scope, profile, OWN, hours=0)
        profiles.start(scope, change.pk)
        for _ in range(3):
            work(change)
            waves.put_due(waveletters.stopped)
        for each, host in ((stays, made.MX), (moves, "mx.elsewhere.test")):
            seen = made.host(made.session(tls=made.tls(name=host)), name=host)
            mx = made.found("example.test", "MX", f"10 {host}")
            look_at(each, made.facts(at=NOON, mx=mx, hosts=(seen,)), Settings())
        assert profiles.undo(scope, change.pk)
        work(change)
    modes = dict(Domain.objects.values_list("name", "current_version__mode"))
    assert modes == {"stays.test": "enforce", "moves.test": "testing"}
    assert "mx.elsewhere.test is an MX host and not in the policy" in change.domains.get(domain=moves).reason


def test_two_changes_of_a_profile_never_run_together(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain]
) -> None:
    change = propose(scope, profile)
    profiles.start(scope, change.pk)
    work(change)
    with pytest.raises(profiles.ChangeUnderWay):
        profiles.propose_change(scope, profile.pk, OWN, reason="", wave_hours=1)
    assert profiles.stop(scope, change.pk, "enough")


def test_a_stranger_reaches_nothing(
    scope: Scope, profile: PolicyProfile, fleet: list[Domain], charlie_user: User
) -> None:
    change = propose(scope, profile)
    stranger = scope_of(charlie_user)
    assert stranger is not None
    with pytest.raises(ProfileChange.DoesNotExist):
        profiles.start(stranger, change.pk)
    with pytest.raises(PolicyProfile.DoesNotExist):
        profiles.add_members(stranger, profile.pk, None)
    assert not profiles.stop(stranger, change.pk, "")
    assert not profiles.drop(stranger, change.pk)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_thousand_domains_are_changed_in_batches_of_bounded_transactions(
    organisation: Organisation, scope: Scope, profile: PolicyProfile
) -> None:
    """Processor time, and the most statements in one transaction."""
    domains = make_domains(organisation, [f"d{n:05}.test" for n in range(10_000)])
    for start in range(0, 10_000, 500):
        wanted = [Wanted(each.pk, TESTING, 0) for each in domains[start : start + 500]]
        publish_policies(organisation.pk, wanted, author_id=None, reason="first")
    profiles.add_members(scope, profile.pk, None)
    spent = {}
    began = time.process_time()
    change = propose(scope, profile, hours=0)
    spent["preview"] = time.process_time() - began
    began = time.process_time()
    profiles.start(scope, change.pk)
    work(change)
    for _ in range(2):
        waves.put_due(waveletters.stopped)
        work(change)
    spent["waves"] = time.process_time() - began
    assert with_longer() == 10_000
    began = time.process_time()
    profiles.undo(scope, change.pk)
    assert work(change).state == ChangeState.UNDONE
    spent["undo"] = time.process_time() - began
    assert with_longer() == 0
    assert sum(spent.values()) < 150, spent
