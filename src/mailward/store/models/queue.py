"""Work that follows from a commit, and what is known of the services around us."""

from django.db import models

from mailward.store.ids import new_id
from mailward.store.rowid import RowId


class OutboxItem(models.Model):
    """Work to do after the transaction that wrote it: at least once, in any order.

    One pending item a (kind, key): asking again for what is already pending is the same work.
    """

    id = RowId(primary_key=True, default=new_id)
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=200)
    payload = models.JSONField(default=dict)
    available_at = models.DateTimeField()
    claimed_until = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    version = models.PositiveIntegerField(default=0)
    """Tells claims apart: even from a claim on, odd once the work was asked for again meanwhile."""
    last_error = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="one_pending_item_a_key")]
        # each kind is claimed by itself, the longest waiting first: thousands of one must not be sorted for each claim
        indexes = [models.Index(fields=["kind", "available_at"], name="outbox_by_kind_and_time")]


class ServiceState(models.Model):
    """The last known state of something that we depend on, such as the mail relay."""

    name = models.CharField(max_length=40, primary_key=True)
    ok = models.BooleanField()
    detail = models.CharField(max_length=500, blank=True)
    changed_at = models.DateTimeField()
