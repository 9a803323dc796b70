"""Policies: every change is a new version, never a change of an old one.

A version and the count of what is hosted are written in one transaction: first committed, then served, and
the policy host never serves what a rolled-back transaction wrote.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import Max

from mailward.core.mtasts.policy import Mode, Policy, make_policy_id, serialise_policy
from mailward.net import clock
from mailward.store.models import Domain, PolicyVersion
from mailward.store.services import outbox
from mailward.store.services.hosting import bump_generation

ANNOUNCEMENT = "_mta-sts"
"""The key of the record that holds a policy's id (mailward.monitor.records)."""


class PolicyUnchanged(Exception):
    """The policy that is served says the same already: senders would fetch it again for nothing."""


class ChangedMeanwhile(Exception):
    """Somebody else published a version since the one that this change started from."""


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
    domain = (
        Domain.objects.select_for_update(of=("self",))
        .select_related("current_version")
        .get(pk=domain_id, organisation_id=organisation_id)
    )
    current = domain.current_version
    if based_on is not None and based_on != (current.number if current else 0):
        raise ChangedMeanwhile
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
    # what was seen in DNS announced the version before: that says nothing of this one
    domain.record_checks.filter(record=ANNOUNCEMENT).update(
        state="unknown", detail="not asked since the policy changed", observed=[]
    )
    outbox.put("records", str(domain.pk))
    outbox.put("announce", str(domain.pk))
    bump_generation(domain.pk, zone=False)
    return version


@transaction.atomic
def announce_version(domain_id: int, version_id: int) -> bool:
    """Every policy host was seen to serve this version: its id may be told. False where it is not the current
    one any more.
    """
    current = Domain.objects.filter(pk=domain_id, current_version_id=version_id)
    if not current.update(announced_version_id=version_id):
        return False
    bump_generation(domain_id)
    return True


def policy_of(version: PolicyVersion) -> Policy:
    return Policy(Mode(version.mode), version.max_age_seconds, tuple(version.mx), text=version.text)


def restore_version(
    organisation_id: int, domain_id: int, number: int, *, author_id: int | None, reason: str = ""
) -> PolicyVersion:
    """Serve what that version said, as a new one. Raises PolicyVersion.DoesNotExist, PolicyUnchanged."""
    old = PolicyVersion.objects.get(organisation_id=organisation_id, domain_id=domain_id, number=number)
    return publish_policy(
        organisation_id,
        domain_id,
        policy_of(old),
        author_id=author_id,
        reason=reason or f"Restored version {number}",
        restored_from=number,
    )


def _fresh_policy_id(domain: Domain, text: str) -> str:
    """RFC 8461 section 3.1: senders fetch the policy when the id changes, so that it is never used twice."""
    moment = clock.now()
    while domain.versions.filter(policy_id=make_policy_id(text, moment)).exists():
        moment += timedelta(milliseconds=1)
    return make_policy_id(text, moment)
