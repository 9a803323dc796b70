"""Domains on their way to enforce: judged from the tables, promoted, alerted, taken back."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.core.check import made
from tests.fakes.evidence import make_domains, make_organisation, report_failures, report_success
from tests.fakes.looks import look_at

from mailward.config import Settings
from mailward.core.check.facts import Facts
from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.policy import Mode, Policy
from mailward.core.rollout.conditions import Conditions
from mailward.core.rollout.verdict import Code, State, judge
from mailward.net import clock
from mailward.notify.mails import build_problem_mail
from mailward.store.models import (
    Check,
    Domain,
    DomainEvent,
    DomainRecipient,
    Notice,
    Notification,
    Organisation,
    OutboxItem,
    PolicyVersion,
    Problem,
    Rollout,
    User,
)
from mailward.store.queries.readiness import gather
from mailward.store.scope import Scope, scope_of
from mailward.store.services import notifications, promotions
from mailward.store.services import rollout as service
from mailward.store.services.policies import ChangedMeanwhile, publish_policy

TESTING = Policy(Mode.TESTING, 86_400, (made.MX,))
NOON = made.NOW.astimezone(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
SETTINGS = Settings()
RIGHT = ChangeFacts(mx=(made.MX,))

pytestmark = pytest.mark.django_db


def facts_of(domain: Domain, **changes: object) -> Facts:
    """What a look sees of a domain whose current policy is served and announced."""
    version = Domain.objects.get(pk=domain.pk).current_version
    assert version is not None
    served = replace(made.policy_host().fetches[0], body=version.text.encode())
    base = made.facts(
        at=clock.now(),
        policy_host=made.policy_host(served),
        **made.record(f"v=STSv1; id={version.policy_id};"),
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # fields of Facts


@pytest.fixture
def ready(domain: Domain) -> Domain:
    """Twenty days in testing, two reporters each day, and looked at now."""
    with clock.frozen(NOON - timedelta(days=20)):
        publish_policy(domain.organisation_id, domain.pk, TESTING, author_id=None)
    for back in range(1, 20):
        day = (NOON - timedelta(days=back)).date()
        report_success([domain], day, "google.com")
        report_success([domain], day, "microsoft.com", ok=20)
    with clock.frozen(NOON):
        look_at(domain, facts_of(domain))
    domain.refresh_from_db()
    return domain


def judged(domain: Domain, at: datetime = NOON) -> Rollout:
    with clock.frozen(at):
        service.judge_domains([domain.pk], SETTINGS)
    return Rollout.objects.get(domain=domain)


def test_one_domain_whose_look_cannot_be_read_stops_no_other(
    ready: Domain, organisation: Organisation
) -> None:
    [broken] = make_domains(organisation, ["broken.test"])
    publish_policy(broken.organisation_id, broken.pk, TESTING, author_id=None)
    with clock.frozen(NOON):
        look_at(broken, facts_of(broken))
        Check.objects.filter(domain=broken).update(facts=b"of another version")
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever reading it raises
            service.judge_due(SETTINGS, 500)
        assert Rollout.objects.get(domain=ready).state == State.READY
        assert service.judge_due(SETTINGS, 500) == 0


def promoted(domain: Domain, at: datetime, facts: ChangeFacts = RIGHT) -> bool:
    """Judge it, and do what the worker does of it."""
    judged(domain, at)
    if not OutboxItem.objects.filter(kind="promote", key=str(domain.pk)).exists():
        return False
    with clock.frozen(at):
        return service.promote_by_itself(domain.pk, facts, 1, SETTINGS.rollout) is not None


def mode_of(domain: Domain) -> str:
    version = Domain.objects.get(pk=domain.pk).current_version
    return version.mode if version else ""


def test_evidence_that_is_enough_makes_a_domain_ready(ready: Domain) -> None:
    row = judged(ready)
    assert (row.state, row.codes, row.ready_since) == (State.READY.value, [], NOON)
    event = DomainEvent.objects.get(kind="rollout-state")
    assert (event.author, event.text) == (None, "Enforce is safe by all that was seen.")


def test_dane_sessions_are_never_added_to_those_of_the_policy(ready: Domain) -> None:
    day = (NOON - timedelta(days=1)).date()
    report_success([ready], day, "google.com", ok=5_000, policy_type="tlsa")
    report_failures(
        [ready], day, "microsoft.com", failed=7, ok=0, policy_type="tlsa", result_type="dnssec-invalid"
    )
    with clock.frozen(NOON):
        evidence = gather([ready.pk], Conditions())[ready.pk]
    assert (evidence.sts_sessions, evidence.dane_sessions, evidence.refused) == (19 * 120, 5_007, ())


def test_failures_of_the_policy_host_would_not_have_cost_mail(ready: Domain) -> None:
    day = (NOON - timedelta(days=1)).date()
    report_failures(
        [ready], day, "third.test", failed=50, ok=0, result_type="sts-policy-fetch-error",
        host="mta-sts.example.test", policy_type="no-policy-found",
    )  # fmt: skip
    assert judged(ready).state == State.READY


def test_refused_sessions_of_the_last_days_are_told_by_sender_mx_and_reason(ready: Domain) -> None:
    report_failures([ready], (NOON - timedelta(days=2)).date(), "third.test", failed=3, ok=7, host=made.MX)
    with clock.frozen(NOON):
        evidence = gather([ready.pk], Conditions())[ready.pk]
    row = evidence.refused[0]
    assert (row.sender, row.mx, row.result_type, row.sessions) == (
        "third.test",
        made.MX,
        "certificate-expired",
        3,
    )
    verdict = judge(evidence, Conditions())
    assert (verdict.state, verdict.codes) == (State.BLOCKED, (Code.SESSIONS_REFUSED.value,))
    assert judged(ready).sentence == "Reports show 3 sessions that would have been refused, by: third.test."


def test_a_policy_that_leaves_an_mx_host_out_blocks(ready: Domain) -> None:
    second = made.host(
        made.session(address="192.0.2.26", tls=made.tls(name="mx2.example.test")), name="mx2.example.test"
    )
    with clock.frozen(NOON):
        both = facts_of(ready, hosts=(made.host(), second))
        look_at(
            ready, replace(both, mx=made.found(made.DOMAIN, "MX", f"10 {made.MX}", "20 mx2.example.test"))
        )
    assert judged(ready).codes[0] == Code.HOST_REFUSED


def test_a_policy_of_another_text_outside_is_not_the_one_that_was_tested(ready: Domain) -> None:
    with clock.frozen(NOON):
        look_at(ready, facts_of(ready, policy_host=made.policy_host()))
    assert judged(ready).codes == [Code.NOT_SEEN]


def test_readiness_is_told_of_many_domains_in_a_fixed_number_of_queries(
    django_assert_max_num_queries: object,
) -> None:
    domains = make_domains(make_organisation("Many"), [f"d{n}.test" for n in range(300)])
    report_success(domains, (NOON - timedelta(days=1)).date(), "google.com")
    with clock.frozen(NOON), django_assert_max_num_queries(20):  # type: ignore[operator]  # pytest-django's fixture
        service.judge_domains([domain.pk for domain in domains], SETTINGS)
    assert Rollout.objects.filter(state=State.NO_POLICY).count() == 300
    assert not DomainEvent.objects.filter(kind="rollout-state").exists()


def test_it_is_judged_once_an_hour(domain: Domain) -> None:
    with clock.frozen(NOON):
        assert service.judge_due(SETTINGS, 500) == 1
        assert service.judge_due(SETTINGS, 500) == 0
    with clock.frozen(NOON + timedelta(minutes=61)):
        assert service.judge_due(SETTINGS, 500) == 1


def test_it_is_judged_anew_once_its_policy_has_changed(domain: Domain) -> None:
    with clock.frozen(NOON):
        assert service.judge_due(SETTINGS, 500) == 1
        assert Rollout.objects.get().state == State.NO_POLICY
    with clock.frozen(NOON + timedelta(minutes=1)):
        publish_policy(domain.organisation_id, domain.pk, TESTING, author_id=None)
    # a clock that went back judges it no more often for that
    with clock.frozen(NOON):
        assert service.judge_due(SETTINGS, 500) == 0
    with clock.frozen(NOON + timedelta(minutes=2)):
        assert service.judge_due(SETTINGS, 500) == 1
        assert Rollout.objects.get().state == State.WAITING
        assert service.judge_due(SETTINGS, 500) == 0


def test_what_probes_see_anew_is_judged_at_once_and_readiness_goes_on(ready: Domain) -> None:
    with clock.frozen(NOON):
        assert service.judge_due(SETTINGS, 500) == 1
        since = Rollout.objects.get().ready_since
        assert since == NOON
    with clock.frozen(NOON + timedelta(minutes=6)):
        look_at(ready, facts_of(ready))
        assert service.judge_due(SETTINGS, 500) == 0
        look_at(ready, expired(ready))
        assert service.judge_due(SETTINGS, 500) == 1
        assert Rollout.objects.get().state == State.BLOCKED
        assert service.judge_due(SETTINGS, 500) == 0
    with clock.frozen(NOON + timedelta(minutes=12)):
        look_at(ready, facts_of(ready))
        assert service.judge_due(SETTINGS, 500) == 1
        assert Rollout.objects.get().state == State.READY


def test_nothing_is_promoted_unless_somebody_chose_it(ready: Domain) -> None:
    judged(ready)
    judged(ready, NOON + timedelta(hours=1))
    assert mode_of(ready) == "testing"


def test_what_was_ready_for_the_time_chosen_is_enforced_and_history_says_why(
    ready: Domain, scope: Scope
) -> None:
    service.choose(scope, [ready.pk], is_automatic=True, hold_days=1, steps_back=False)
    for hours in range(0, 24, 8):
        judged(ready, NOON + timedelta(hours=hours))
        assert mode_of(ready) == "testing"
    assert promoted(ready, NOON + timedelta(hours=24))
    assert mode_of(ready) == "enforce"
    event = DomainEvent.objects.get(kind="rollout-promoted")
    assert (event.author, event.reason) == (None, "Automatic: the conditions held for 1 day.")
    assert "google.com, microsoft.com" in event.text
    assert DomainEvent.objects.get(kind="rollout-chosen").author_id == scope.user_id


def test_a_gap_in_the_looks_begins_the_waiting_anew(ready: Domain, scope: Scope) -> None:
    service.choose(scope, [ready.pk], is_automatic=True, hold_days=1, steps_back=False)
    judged(ready)
    assert not promoted(ready, NOON + timedelta(hours=30))
    assert mode_of(ready) == "testing"


def test_what_a_person_would_be_refused_is_refused_here_too(ready: Domain, scope: Scope) -> None:
    service.choose(scope, [ready.pk], is_automatic=True, hold_days=1, steps_back=False)
    for hours in range(0, 24, 8):
        judged(ready, NOON + timedelta(hours=hours))
    forged = ChangeFacts(mx=(made.MX, "mx.other.test"))
    assert not promoted(ready, NOON + timedelta(hours=24), forged)
    assert not promoted(ready, NOON + timedelta(hours=25), forged)
    assert mode_of(ready) == "testing"
    assert (
        "mx.other.test is an MX host and not in the policy"
        in DomainEvent.objects.get(kind="rollout-refused").text
    )


def test_a_domain_that_has_left_is_not_told_to_begin(ready: Domain) -> None:
    with clock.frozen(NOON):
        publish_policy(ready.organisation_id, ready.pk, Policy(Mode.NONE, 86_400), author_id=None)
    assert judged(ready).state == State.NONE
    Domain.objects.filter(pk=ready.pk).update(current_version=None)
    assert judged(ready, NOON + timedelta(hours=1)).state == State.NO_POLICY
    told = [event.text for event in DomainEvent.objects.filter(kind="rollout-state").order_by("pk")]
    assert told == ["The policy says that there is none: the domain is leaving MTA-STS."]


def test_people_are_told_once_of_all_that_was_enforced_by_itself(
    ready: Domain, organisation: Organisation, scope: Scope
) -> None:
    others = make_domains(organisation, [f"d{number:02}.test" for number in range(40)])
    DomainRecipient.objects.create(domain=ready, organisation=organisation, email="Hosts@Example.test")
    service.choose(scope, [ready.pk], is_automatic=True, hold_days=0, steps_back=False)
    assert promoted(ready, NOON)
    item = OutboxItem.objects.get(kind="promoted")
    assert (item.key, item.available_at) == (str(ready.pk), NOON + timedelta(hours=1))
    assert Notice.objects.count() == 0

    for each in others[:38]:
        publish_policy(each.organisation_id, each.pk, replace(TESTING, mode=Mode.ENFORCE), author_id=None)
    # one that somebody has taken back meanwhile is no news, nor is one that is gone
    publish_policy(organisation.pk, others[38].pk, TESTING, author_id=None)
    gone = others[39].pk
    others[39].delete()
    assert promotions.tell([ready.pk, *(each.pk for each in others[:39]), gone]) == 2

    alice, hosts = Notice.objects.order_by("recipient")
    assert (alice.recipient, alice.domain, alice.page) == ("alice@alice.test", None, "/rollout/")
    assert alice.subject == "39 domains: the MTA-STS policies are enforced now"
    assert [line.strip() for line in alice.lines if line.startswith("  ")] == [
        *(f"d{number:02}.test" for number in range(30)),
        "and 9 more: the page Rollout",
    ]
    assert (hosts.recipient, hosts.domain, hosts.page) == (
        "hosts@example.test", ready, "/domains/example.test/rollout/",
    )  # fmt: skip
    assert hosts.subject == "example.test: the MTA-STS policy is enforced now"
    assert OutboxItem.objects.filter(kind="notice").count() == 2


def test_a_person_promotes_what_is_ready(ready: Domain, scope: Scope) -> None:
    with clock.frozen(NOON):
        version = service.promote(
            scope, ready.pk, RIGHT, reason="Seen enough.", based_on=1, conditions=SETTINGS.rollout
        )
    assert (version.mode, version.author_id) == ("enforce", scope.user_id)
    event = DomainEvent.objects.get(kind="rollout-promoted")
    assert (event.author_id, event.reason) == (scope.user_id, "Seen enough.")
    assert event.text.startswith("Enforced on 2,280 sessions")


def test_a_person_promotes_nothing_else(domain: Domain, scope: Scope) -> None:
    publish_policy(domain.organisation_id, domain.pk, TESTING, author_id=None)
    with pytest.raises(service.NotReady) as refused:
        service.promote(scope, domain.pk, RIGHT, reason="", based_on=1, conditions=SETTINGS.rollout)
    assert Code.NO_REPORTS.value in refused.value.verdict.codes
    with pytest.raises(ChangedMeanwhile):
        service.promote(scope, domain.pk, RIGHT, reason="", based_on=2, conditions=SETTINGS.rollout)
    assert PolicyVersion.objects.count() == 1


def test_a_stranger_promotes_nothing(ready: Domain, charlie_user: User) -> None:
    stranger = scope_of(charlie_user)
    assert stranger is not None
    with pytest.raises(Domain.DoesNotExist):
        service.promote(stranger, ready.pk, RIGHT, reason="", based_on=1, conditions=SETTINGS.rollout)
    assert service.choose(stranger, [ready.pk], is_automatic=True, hold_days=0, steps_back=True) == 0


@pytest.fixture
def enforced(ready: Domain) -> Domain:
    with clock.frozen(NOON):
        publish_policy(ready.organisation_id, ready.pk, replace(TESTING, mode=Mode.ENFORCE), author_id=None)
        look_at(ready, facts_of(ready))
    return ready


def test_failures_that_jump_under_enforce_raise_an_alert_and_change_nothing(
    enforced: Domain, scope: Scope
) -> None:
    service.choose(scope, [enforced.pk], is_automatic=True, hold_days=0, steps_back=True)
    day = (NOON - timedelta(days=1)).date()
    report_failures(
        [enforced], day, "third.test", failed=60, ok=0, host=made.MX, result_type="starttls-not-supported"
    )
    assert judged(enforced).state == State.AT_RISK
    problem = Problem.objects.get()
    assert (problem.result_type, problem.host, problem.closed_at) == ("refusals-jumped", made.MX, None)
    assert "may be the attack" in DomainEvent.objects.get(kind="rollout-jump").text
    assert mode_of(enforced) == "enforce"
    notifications.queue([problem.pk], "mailward.test")
    letter = notifications.letter(Notification.objects.get().message_id)
    assert letter is not None
    told = " ".join(build_problem_mail(letter, sender="m@mailward.test", console_url="").decode().split())
    assert "It shows in the verified reports about 1 domain" in told
    assert "Refused sessions jumped: 60 of " in told
    assert "saw it itself" not in told
    # three later days without them
    for ahead in range(3):
        report_success([enforced], (NOON + timedelta(days=ahead)).date(), "google.com")
    judged(enforced, NOON + timedelta(days=3))
    assert Problem.objects.get().closed_at is not None


def expired(domain: Domain) -> Facts:
    seen = made.session(tls=made.tls("expired", 10))
    return facts_of(domain, hosts=(made.host(seen),))


def test_a_fault_of_our_own_host_steps_back_only_where_that_was_chosen_and_seen_twice(
    enforced: Domain, scope: Scope
) -> None:
    with clock.frozen(NOON + timedelta(minutes=6)):
        look_at(enforced, expired(enforced))
    service.choose(scope, [enforced.pk], is_automatic=False, hold_days=7, steps_back=True)
    judged(enforced, NOON + timedelta(minutes=7))
    assert mode_of(enforced) == "enforce"
    with clock.frozen(NOON + timedelta(minutes=12)):
        look_at(enforced, expired(enforced))
    service.choose(scope, [enforced.pk], is_automatic=False, hold_days=7, steps_back=False)
    judged(enforced, NOON + timedelta(minutes=13))
    assert mode_of(enforced) == "enforce"
    service.choose(scope, [enforced.pk], is_automatic=False, hold_days=7, steps_back=True)
    judged(enforced, NOON + timedelta(minutes=14))
    assert mode_of(enforced) == "testing"
    text = DomainEvent.objects.get(kind="rollout-stepped-back").text
    assert made.MX in text
    assert "for up to 24 hours" in text
    notice = Notice.objects.get()
    assert (notice.recipient, notice.page) == ("alice@alice.test", "/domains/example.test/rollout/")
    assert notice.subject == "example.test: the MTA-STS policy went back to testing"
    told = " ".join(notice.lines)
    assert made.MX in told
    assert "keep enforcing the copy that they hold, for up to 24 hours" in told
