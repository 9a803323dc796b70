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


class MxFollow(models.Model):
    """Whether a domain's policy follows its MX records. No row: it does not."""

    domain = models.OneToOneField(
        Domain, primary_key=True, on_delete=models.CASCADE, related_name="mx_follow"
    )
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    mode = models.CharField(max_length=10, default="off")
    """core.mtasts.follow.Follow"""


class MxChange(models.Model):
    """A difference between live MX records and the policy, or one that is to come, and what becomes of it."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="mx_changes")
    kind = models.CharField(max_length=10)
    """`appeared`: a host outside the policy; `departed`: a pattern that covers none; `planned`: a host to come."""
    subject = models.CharField(max_length=253)
    """The MX host, or the pattern."""
    patterns = models.JSONField(default=list)
    """What the policy gains or loses."""
    state = models.CharField(max_length=10)
    """`noticed` (to be asked of all servers), `waiting`, or `left` (departed, and following is off), then `done`,
    `vetoed` or `withdrawn` (before 0.2 also `refused`, which ended it); `lifted`: vetoed, and settled otherwise since.
    """
    noticed_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)
    """When the policy changes, unless somebody objects; of planned ones: when the host is to be live."""
    ended_at = models.DateTimeField(null=True)
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    """Who planned it, or objected."""
    veto_hash = models.CharField(max_length=64, blank=True, db_index=True)
    """SHA-256 of the token in the link by which whoever got the mail may object."""
    detail = models.CharField(max_length=500, blank=True)
    """Why it waits, or how it ended."""
    held_since = models.DateTimeField(null=True)
    """When it first could not go on: the servers differ, or the change would lock mail out. None: it can."""
    is_told = models.BooleanField(default=False, db_default=False)
    """Whether people were told of that, or of what has left: a problem of core.explain.following."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["domain", "kind", "subject"],
                condition=models.Q(ended_at__isnull=True),
                name="one_open_change_a_subject",
            )
        ]
        indexes = [
            models.Index(
                fields=["due_at"], condition=models.Q(ended_at__isnull=True), name="open_mx_changes_by_time"
            )
        ]


class Notice(models.Model):
    """A mail to one person that tells of something once, kept until the relay has taken it."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, null=True, on_delete=models.CASCADE, related_name="+")
    """None: it is about many."""
    page = models.CharField(max_length=300, blank=True, default="")
    """Path of the page on the console where it stands; empty: that of the domain's MX hosts."""
    recipient = models.EmailField()
    subject = models.CharField(max_length=200)
    lines = models.JSONField(default=list)
    message_id = models.CharField(max_length=100, unique=True)
    queued_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)


class Leaving(models.Model):
    """A plan to leave MTA-STS (RFC 8461 section 8.3): core.mtasts.leaving says what is due."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="leavings")
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    version = models.ForeignKey(PolicyVersion, on_delete=models.CASCADE, related_name="+")
    """That of mode none."""
    begun_at = models.DateTimeField()
    served_at = models.DateTimeField(null=True)
    """When every policy host was seen to serve it."""
    wait_until = models.DateTimeField(null=True)
    told_at = models.DateTimeField(null=True)
    """When people were told that the records may go."""
    looked_at = models.DateTimeField(null=True)
    """When the records were last looked for."""
    detail = models.CharField(max_length=500, blank=True)
    """What is still there."""
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, blank=True)
    """`done` or `broken-off`"""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["domain"],
                condition=models.Q(ended_at__isnull=True),
                name="one_open_leaving_a_domain",
            )
        ]
