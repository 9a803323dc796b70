from dataclasses import replace

import pytest

from mailward.core.mtasts.change import ChangeFacts
from mailward.core.mtasts.policy import Mode, Policy, PolicyInvalid
from mailward.net import clock
from mailward.store.models import (
    Domain,
    DomainEvent,
    HostingGeneration,
    Organisation,
    OutboxItem,
    PolicyVersion,
    RecordCheck,
    User,
)
from mailward.store.queries.policies import DiffLine, diff_lines, history
from mailward.store.scope import scope_of
from mailward.store.services import bulk_policies
from mailward.store.services import policies as service

TESTING = Policy(Mode.TESTING, 86_400, ("mx.example.test",))
ENFORCE = Policy(Mode.ENFORCE, 604_800, ("mx.example.test",))


def publish(domain: Domain, policy: Policy, based_on: int | None = None) -> PolicyVersion:
    return service.publish_policy(
        domain.organisation_id, domain.pk, policy, author_id=None, reason="why not", based_on=based_on
    )


def test_a_published_policy_is_the_one_served(domain: Domain) -> None:
    version = publish(domain, TESTING)
    domain.refresh_from_db()
    assert domain.current_version == version
    assert version.text == "version: STSv1\r\nmode: testing\r\nmx: mx.example.test\r\nmax_age: 86400\r\n"
    assert HostingGeneration.objects.get().value == 1


def test_every_change_is_a_new_version_with_a_new_id_even_in_one_instant(domain: Domain) -> None:
    with clock.frozen(clock.now()):
        versions = [publish(domain, policy) for policy in (TESTING, ENFORCE, TESTING, ENFORCE)]
    assert [version.number for version in versions] == [1, 2, 3, 4]
    assert len({version.policy_id for version in versions}) == 4
    assert PolicyVersion.objects.get(number=1).text == versions[0].text


def test_fields_that_we_know_nothing_of_survive_each_change(domain: Domain) -> None:
    """RFC 8461 section 3.2: sts-policy-extension."""
    publish(domain, replace(TESTING, extensions=(("note", "ours"), ("x-elsewhere", "1"))))
    kept = "max_age: 604800\r\nnote: ours\r\nx-elsewhere: 1\r\n"
    assert publish(domain, ENFORCE).text.endswith(kept)
    with pytest.raises(service.PolicyUnchanged):
        publish(domain, ENFORCE)
    domain.refresh_from_db()
    wanted = [bulk_policies.Wanted(domain.pk, TESTING, domain.current_version_id or 0)]
    found = bulk_policies.publish_policies(domain.organisation_id, wanted, author_id=None, reason="all")
    version = found[domain.pk].version
    assert version is not None
    assert version.text.endswith(kept.replace("604800", "86400"))


def test_a_record_that_announced_the_last_version_is_looked_at_again(domain: Domain) -> None:
    for record in ("_mta-sts", "mta-sts"):
        RecordCheck.objects.create(
            organisation=domain.organisation,
            domain=domain,
            record=record,
            state="right",
            checked_at=clock.now(),
        )
    version = publish(domain, TESTING)
    assert service.announce_version(domain.pk, version.pk)
    states = dict(RecordCheck.objects.values_list("record", "state"))
    assert states == {"_mta-sts": "unknown", "mta-sts": "right"}
    assert OutboxItem.objects.filter(kind="records", key=str(domain.pk)).exists()


def test_an_id_is_told_of_the_current_version_only(domain: Domain) -> None:
    first = publish(domain, TESTING)
    publish(domain, ENFORCE)
    assert not service.announce_version(domain.pk, first.pk)
    domain.refresh_from_db()
    assert domain.announced_version is None


def test_the_same_policy_is_not_published_twice(domain: Domain) -> None:
    publish(domain, TESTING)
    with pytest.raises(service.PolicyUnchanged):
        publish(domain, TESTING)


def test_a_policy_that_senders_would_refuse_is_not_published(domain: Domain) -> None:
    with pytest.raises(PolicyInvalid):
        publish(domain, Policy(Mode.ENFORCE, 86_400, ()))
    assert not PolicyVersion.objects.exists()


def test_a_change_that_did_not_see_the_last_one_is_stopped(domain: Domain) -> None:
    publish(domain, TESTING, based_on=0)
    with pytest.raises(service.ChangedMeanwhile):
        publish(domain, ENFORCE, based_on=0)
    publish(domain, ENFORCE, based_on=1)


def test_a_change_that_would_lock_mail_out_is_refused_unless_forced(domain: Domain) -> None:
    publish(domain, TESTING)
    facts = ChangeFacts(("mx.example.test", "mx2.example.test"))

    def change(*, is_forced: bool) -> PolicyVersion:
        return service.change_policy(
            domain.organisation_id, domain.pk, ENFORCE, facts, author_id=None, is_forced=is_forced
        )

    with pytest.raises(service.ChangeRefused) as refused:
        change(is_forced=False)
    # never-tested is not among them: what we serve ourselves counts
    assert [each.code for each in refused.value.refusals] == ["mx-not-covered"]
    assert change(is_forced=True).number == 2
    forced = DomainEvent.objects.get(kind="policy-forced")
    assert forced.text.startswith(
        "Version 2 was forced: mx2.example.test is an MX host and not in the policy"
    )


def test_the_history_says_what_changed_and_why(domain: Domain) -> None:
    publish(domain, TESTING)
    publish(domain, ENFORCE)
    assert list(DomainEvent.objects.order_by("id").values_list("text", "reason")) == [
        ("Policy, version 1: mode testing, max_age 86400 seconds, mx.example.test", "why not"),
        ("Policy, version 2: mode testing to enforce; max_age 86400 to 604800 seconds", "why not"),
    ]


def test_another_organisation_cannot_publish(domain: Domain, strangers: Organisation) -> None:
    with pytest.raises(Domain.DoesNotExist):
        service.publish_policy(strangers.pk, domain.pk, TESTING, author_id=None)


def test_the_history_shows_each_change(alice_user: User, domain: Domain) -> None:
    publish(domain, TESTING)
    publish(domain, ENFORCE)
    domain.refresh_from_db()
    scope = scope_of(alice_user)
    assert scope is not None
    (newest, oldest), pages = history(scope, domain)
    assert pages == 1
    assert (newest.is_current, oldest.is_current) == (True, False)
    assert [line.text for line in newest.diff if line.kind == "added"] == ["mode: enforce", "max_age: 604800"]
    assert {line.kind for line in oldest.diff} == {"added"}


def test_a_diff_shows_the_whole_policy() -> None:
    before, after = "a\r\nb\r\n", "a\r\nc\r\n"
    assert diff_lines(before, after) == (
        DiffLine("same", "a"),
        DiffLine("removed", "b"),
        DiffLine("added", "c"),
    )


def test_what_goes_back_to_an_older_version_has_the_extension_fields_of_that_one(domain: Domain) -> None:
    older = publish(domain, replace(TESTING, extensions=(("note", "ours"),)))
    publish(domain, replace(ENFORCE, extensions=(("note", "theirs"),)))
    assert publish(domain, service.policy_of(older)).text == older.text
