"""Policies: every change is a new version, never a change of an old one.

A version and the count of what is hosted are written in one transaction: first committed, then served, and
the policy host never serves what a rolled-back transaction wrote.
"""

from dataclasses import replace
from datetime import timedelta

from django.db import transaction
from django.db.models import Max

from mailward.core.mtasts.change import ChangeFacts, Refusal, describe, refuse, refuse_more
from mailward.core.mtasts.policy import (
    Mode,
    Policy,
    PolicyInvalid,
    make_policy_id,
    parse_policy,
    serialise_policy,
)
from mailward.net import clock
from mailward.store.models import Domain, Leaving, PolicyVersion, VersionStep
from mailward.store.services import dnsupdates, history, outbox
from mailward.store.services.hosting import bump_generation
from mailward.store.services.progress import SECONDARIES_FOLLOW, Step, note_steps

ANNOUNCEMENT = "_mta-sts"
"""The key of the record that holds a policy's id (mailward.monitor.records)."""


class PolicyUnchanged(Exception):
    """The policy that is served says the same already: senders would fetch it again for nothing."""


class ChangedMeanwhile(Exception):
    """Somebody else published a version since the one that this change started from."""


class ChangeRefused(Exception):
    """The change would lock mail out; whoever asks for it may force it."""

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        super().__init__("; ".join(str(refusal) for refusal in refusals))
        self.refusals = refusals


@transaction.atomic
def change_policy(
    organisation_id: int,
    domain_id: int,
    policy: Policy,
    facts: ChangeFacts,
    *,
    author_id: int | None,
    reason: str = "",
    based_on: int | None = None,
    restored_from: int | None = None,
    is_forced: bool = False,
    is_step: bool = False,
) -> PolicyVersion:
    """publish_policy for whoever cannot vouch for the change. `facts.current` counts only where we serve no policy.
    `is_step`: others follow, so that what is wrong with the present policy already speaks not against this one.

    Raises ChangeRefused unless `is_forced`, and what publish_policy raises.
    """
    domain = _locked(organisation_id, domain_id)
    if domain.current_version is not None:
        facts = replace(facts, current=policy_of(domain.current_version))
    refusals = refuse_more(policy, facts) if is_step else refuse(policy, facts)
    if refusals and not is_forced:
        raise ChangeRefused(refusals)
    version = publish_policy(
        organisation_id,
        domain_id,
        policy,
        author_id=author_id,
        reason=reason,
        based_on=based_on,
        restored_from=restored_from,
    )
    if refusals:
        text = f"Version {version.number} was forced: {' '.join(str(refusal) for refusal in refusals)}"
        history.note(
            organisation_id, domain_id, history.Kind.POLICY_FORCED, text, author_id=author_id, reason=reason
        )
    return version


@transaction.atomic
def publish_policy(
    organisation_id: int,
    domain_id: int,
    policy: Policy,
    *,
    author_id: int | None,
    reason: str = "",
    restored_from: int | None = None,
    based_on: int | None = None,
) -> PolicyVersion:
    """Serve `policy` from now on, as a new version with a new id.

    `based_on` is the number of the version that the author saw (0: none), where it matters. Raises
    Domain.DoesNotExist, PolicyInvalid, PolicyUnchanged, ChangedMeanwhile.
    """
    domain = _locked(organisation_id, domain_id)
    current = domain.current_version
    if based_on is not None and based_on != (current.number if current else 0):
        raise ChangedMeanwhile
    policy = keep_extensions(policy, current)
    text = serialise_policy(policy)
    if current is not None and current.text == text:
        raise PolicyUnchanged
    version = PolicyVersion.objects.create(
        organisation_id=organisation_id,
        domain=domain,
        number=(domain.versions.aggregate(last=Max("number"))["last"] or 0) + 1,
        policy_id=_fresh_policy_id(domain, text),
        mode=policy.mode.value,
        max_age_seconds=policy.max_age_seconds,
        mx=list(policy.mx),
        text=text,
        author_id=author_id,
        reason=reason,
        restored_from=restored_from,
        created_at=clock.now(),
    )
    Domain.objects.filter(pk=domain.pk).update(current_version=version)
    VersionStep.objects.filter(version__domain=domain).delete()
    told = describe(policy_of(current) if current else None, policy) or "written anew"
    text = f"Policy, version {version.number}: {told}"
    history.note(
        organisation_id, domain.pk, history.Kind.POLICY_CHANGED, text, author_id=author_id, reason=reason
    )
    outbox.put("announce", str(domain.pk))
    if current is None:
        # its host must lead here before anything can be served; who has left has had that removed
        dnsupdates.put_domains([domain])
    bump_generation(domain.pk, zone=False)
    return version


@transaction.atomic
def announce_version(domain_id: int, version_id: int) -> bool:
    """Every policy host was seen to serve this version: its id may be told. False where it is not the current
    one any more.
    """
    domain = Domain.objects.select_for_update(of=("self",)).filter(pk=domain_id).first()
    version = PolicyVersion.objects.filter(pk=version_id).first()
    if domain is None or version is None or domain.current_version_id != version_id:
        return False
    if domain.announced_version_id == version_id:
        return True
    Domain.objects.filter(pk=domain_id).update(announced_version=version)
    # the first time counts: what was before it has not been served since
    PolicyVersion.objects.filter(pk=version_id, announced_at=None).update(announced_at=clock.now())
    # what was seen in DNS announced the version before: that says nothing of this one
    domain.record_checks.filter(record=ANNOUNCEMENT).update(
        state="unknown", detail="not asked since the policy changed", observed=[]
    )
    note_steps(version_id, Step.ANNOUNCED, {"": ""})
    text = f"Every policy host serves version {version.number}: its id {version.policy_id} is told"
    history.note(domain.organisation_id, domain_id, history.Kind.POLICY_ANNOUNCED, text)
    outbox.put("seen", str(domain_id))
    if Leaving.objects.filter(domain_id=domain_id, ended_at=None).exists():
        outbox.put("leaving", str(domain_id))  # the wait begins now
    dnsupdates.put_domain(domain_id)
    outbox.put("records", str(domain_id), available_at=clock.now() + SECONDARIES_FOLLOW)
    bump_generation(domain_id)
    return True


def _locked(organisation_id: int, domain_id: int) -> Domain:
    """With its current version. Raises Domain.DoesNotExist."""
    rows = Domain.objects.select_for_update(of=("self",)).select_related("current_version")
    return rows.get(pk=domain_id, organisation_id=organisation_id)


def keep_extensions(policy: Policy, current: PolicyVersion | None) -> Policy:
    """With the fields of the present version that we know nothing of (RFC 8461 section 3.2): whoever put them there has
    a use for them, and none of our forms shows them. A policy that has such fields itself stays as it is.
    """
    if policy.extensions or current is None:
        return policy
    return replace(policy, extensions=policy_of(current).extensions)


def policy_of(version: PolicyVersion) -> Policy:
    """With its extension fields, so that what goes back to an older version has those of that one."""
    policy = Policy(Mode(version.mode), version.max_age_seconds, tuple(version.mx), text=version.text)
    # the rest is in columns: a policy without such fields is not read for each of ten thousand domains
    if version.text.count("\n") == len(version.mx) + 3:
        return policy
    try:
        return replace(policy, extensions=parse_policy(version.text.encode()).extensions)
    except PolicyInvalid:
        return policy


def _fresh_policy_id(domain: Domain, text: str) -> str:
    """RFC 8461 section 3.1: senders fetch the policy when the id changes, so that it is never used twice."""
    moment = clock.now()
    while domain.versions.filter(policy_id=make_policy_id(text, moment)).exists():
        moment += timedelta(milliseconds=1)
    return make_policy_id(text, moment)
