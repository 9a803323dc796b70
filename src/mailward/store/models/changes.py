"""What was done to a domain, and how far a change of its policy has come."""

from django.db import models

from mailward.net import clock
from mailward.store.ids import new_id
from mailward.store.models.accounts import Organisation, User
from mailward.store.models.domains import Domain, PolicyVersion
from mailward.store.rowid import RowId


class DomainEvent(models.Model):
    """One line of a domain's history: who did what, when and why. Never changed after it is written."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=clock.now)
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    """None: Mailward by itself, or the command line."""
    kind = models.CharField(max_length=40)
    """Stable slug, such as `policy-changed` (store.services.history.Kind)."""
    text = models.CharField(max_length=500)
    """What, in one sentence."""
    reason = models.CharField(max_length=500, blank=True)
    """Why, in the author's words."""


class VersionStep(models.Model):
    """How far the newest version of a policy has come at one place; rows of older versions go when the next is made."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    version = models.ForeignKey(PolicyVersion, on_delete=models.CASCADE, related_name="steps", db_index=False)
    kind = models.CharField(max_length=10)
    """`served` by a policy host, `announced` by our nameserver, `seen` at an authoritative server."""
    place = models.CharField(max_length=300)
    """Address and port of the policy host, or name and address of the server; empty for `announced`."""
    done_at = models.DateTimeField(null=True)
    """When it was first seen to be so; None: it is not yet."""
    looked_at = models.DateTimeField()
    detail = models.CharField(max_length=500, blank=True)
    """Why not yet."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "kind", "place"], name="one_step_a_place")]
