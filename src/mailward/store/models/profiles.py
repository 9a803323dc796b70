"""Policy profiles: one policy for any number of domains, and its changes, which go out in waves."""

from django.db import models

from mailward.core.rollout.conditions import DEFAULT_HOLD_DAYS
from mailward.net import clock
from mailward.store.ids import new_id
from mailward.store.models.accounts import Organisation, User
from mailward.store.models.domains import Domain, PolicyVersion
from mailward.store.rowid import RowId


class PolicyProfile(models.Model):
    """What its last change that began says. Domains have it once a wave has reached them."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=100)
    mode = models.CharField(max_length=10)
    max_age_seconds = models.PositiveIntegerField()
    mx = models.JSONField(default=list)
    """Patterns for all domains; empty: each domain keeps its own."""
    is_automatic = models.BooleanField(default=False, db_default=False)
    """Whether domains that join it are enforced by themselves once they are ready (store.services.automatic)."""
    hold_days = models.PositiveSmallIntegerField(default=DEFAULT_HOLD_DAYS, db_default=DEFAULT_HOLD_DAYS)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organisation", "name"], name="one_profile_a_name")]


class ProfileMember(models.Model):
    domain = models.OneToOneField(
        Domain, primary_key=True, on_delete=models.CASCADE, related_name="profile_member"
    )
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    profile = models.ForeignKey(PolicyProfile, on_delete=models.CASCADE, related_name="members")


class ChangeState(models.TextChoices):
    PREPARING = "preparing", "Being prepared"
    DRAFT = "draft", "Preview"
    RUNNING = "running", "A wave is going out"
    WAITING = "waiting", "Waiting for the next wave"
    STOPPED = "stopped", "Stopped"
    DONE = "done", "Done"
    UNDOING = "undoing", "Being undone"
    UNDONE = "undone", "Undone"
    DROPPED = "dropped", "Dropped"


class ProfileChange(models.Model):
    """One edit of a profile."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    profile = models.ForeignKey(PolicyProfile, on_delete=models.CASCADE, related_name="changes")
    mode = models.CharField(max_length=10)
    max_age_seconds = models.PositiveIntegerField()
    mx = models.JSONField(default=list)
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    reason = models.CharField(max_length=300, blank=True)
    state = models.CharField(max_length=10, choices=ChangeState, db_index=True)
    wave = models.PositiveSmallIntegerField(default=0)
    """The last one that was begun; 0: none."""
    wave_hours = models.PositiveSmallIntegerField(default=24)
    """How long each wave is watched before the next."""
    profile_before = models.JSONField(null=True)
    """What the profile said when this began: `mode`, `max_age_seconds` and `mx`; None: it has not begun."""
    began_at = models.DateTimeField(null=True)
    wave_ended_at = models.DateTimeField(null=True)
    stop_reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=clock.now)


class Effect(models.TextChoices):
    CHANGED = "changed", "Changes"
    SAME = "same", "Stays the same"
    REFUSED = "refused", "Refused"


class ProfileChangeDomain(models.Model):
    """What a change does to one domain."""

    pk = models.CompositePrimaryKey("change", "domain")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    change = models.ForeignKey(
        ProfileChange, on_delete=models.CASCADE, related_name="domains", db_index=False
    )
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="+")
    effect = models.CharField(max_length=10, choices=Effect)
    reason = models.CharField(max_length=500, blank=True)
    """Why it is refused, or was not carried out."""
    wave = models.PositiveSmallIntegerField(default=0)
    """1 to 3; 0: in none."""
    before = models.ForeignKey(
        PolicyVersion, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    after = models.ForeignKey(
        PolicyVersion, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    applied_at = models.DateTimeField(null=True)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["change", "wave", "applied_at"], name="change_domains_by_wave")]
