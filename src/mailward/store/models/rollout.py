"""How far each domain is on its way to enforce."""

from django.db import models

from mailward.net import clock
from mailward.store.ids import new_id
from mailward.store.models.accounts import Organisation, User
from mailward.store.models.domains import Domain
from mailward.store.models.profiles import PolicyProfile
from mailward.store.rowid import RowId


class Rollout(models.Model):
    """The last verdict on a domain (core.rollout), and what its people have chosen."""

    domain = models.OneToOneField(Domain, primary_key=True, on_delete=models.CASCADE, related_name="rollout")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    state = models.CharField(max_length=20)
    """A core.rollout.verdict.State; empty: not judged yet."""
    codes = models.JSONField(default=list)
    """core.rollout.verdict.Code of each reason, in order."""
    sentence = models.CharField(max_length=1000, blank=True)
    """The first reason, in words."""
    judged_at = models.DateTimeField(null=True, db_index=True)
    ready_since = models.DateTimeField(null=True)
    """Since when every look found it ready; None: it is not."""
    is_automatic = models.BooleanField(default=False)
    """Whether it is promoted once it has been ready for `hold_days`."""
    hold_days = models.PositiveSmallIntegerField(default=7)
    steps_back = models.BooleanField(default=False)
    """Whether a fault of our own MX hosts that our probes confirmed takes it back to testing."""
    chosen_at = models.DateTimeField(null=True)
    """When the choice of `is_automatic` was made that counts: one for many that was made before, and comes here late,
    does not overrule it.
    """

    class Meta:
        indexes = [models.Index(fields=["organisation", "state"], name="rollout_by_state")]


class AutomaticChoice(models.Model):
    """Whether many domains are enforced by themselves, chosen at once: all of them get it, whatever dies on the way."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+")
    profile = models.ForeignKey(PolicyProfile, null=True, on_delete=models.SET_NULL, related_name="+")
    """For whose domains it was; None: those that were ticked or found."""
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    reason = models.CharField(max_length=300)
    is_automatic = models.BooleanField()
    hold_days = models.PositiveSmallIntegerField()
    ids = models.JSONField(default=list)
    """Domains, in the order in which they get it; none any more once all have it."""
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    """Of those that are done: to how many it was new."""
    created_at = models.DateTimeField(default=clock.now)
    finished_at = models.DateTimeField(null=True)
