"""Lists of domains that people import: what each row is, before anything is done, and what became of it."""

from django.db import models

from mailward.net import clock
from mailward.store.ids import new_id
from mailward.store.models.accounts import Organisation, User
from mailward.store.models.domains import Domain
from mailward.store.models.profiles import PolicyProfile
from mailward.store.rowid import RowId


class ImportState(models.TextChoices):
    LOOKING = "looking", "Being looked at"
    PLANNED = "planned", "Dry run"
    RUNNING = "running", "Being carried out"
    DONE = "done", "Done"
    DROPPED = "dropped", "Dropped"


class DomainImport(models.Model):
    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+")
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    """None: the command line."""
    profile = models.ForeignKey(PolicyProfile, null=True, on_delete=models.SET_NULL, related_name="+")
    """What the domains are put into."""
    source = models.CharField(max_length=200)
    """Name of the file, or address of the API."""
    state = models.CharField(max_length=10, choices=ImportState)
    created_at = models.DateTimeField(default=clock.now)
    finished_at = models.DateTimeField(null=True)


class ImportRow(models.Model):
    """One domain of a list. What could not be read has a verdict at once."""

    pk = models.CompositePrimaryKey("batch", "number")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    batch = models.ForeignKey(DomainImport, on_delete=models.CASCADE, related_name="rows", db_index=False)
    number = models.PositiveIntegerField()
    where = models.CharField(max_length=120)
    name = models.CharField(max_length=253)
    mx = models.JSONField(default=list)
    """As listed, and once looked at, those of the policy."""
    mode = models.CharField(max_length=10, blank=True)
    """Of the policy to serve; empty until it is known."""
    max_age_seconds = models.PositiveIntegerField(null=True)
    extensions = models.JSONField(null=True)
    """Fields of the policy that the RFC leaves to others, as pairs of name and value; None: it has none."""
    automatic_days = models.PositiveSmallIntegerField(null=True)
    """Enforced by itself after so many days of readiness; 0: not; None: as the profile has it."""
    verdict = models.CharField(max_length=20, blank=True)
    """A core.importing.verdict.Verdict; empty: not looked at yet."""
    reason = models.CharField(max_length=500, blank=True)
    domain = models.ForeignKey(Domain, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    """Once it is there."""
    done_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["batch", "verdict", "done_at"], name="import_rows_by_verdict")]
