"""How far each domain is on its way to enforce."""

from django.db import models

from mailward.store.models.accounts import Organisation
from mailward.store.models.domains import Domain


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

    class Meta:
        indexes = [models.Index(fields=["organisation", "state"], name="rollout_by_state")]
