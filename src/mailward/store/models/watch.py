"""Watching: when each domain is looked at, what was seen, and what of it stands.

What MX hosts show is nobody's secret and shared: a host that ten thousand domains use is looked at, and kept, once.
"""

from django.db import models

from mailward.store.ids import new_id
from mailward.store.models.accounts import Organisation, User
from mailward.store.models.domains import Domain
from mailward.store.rowid import RowId


class MxLook(models.Model):
    """What one address of an MX host showed, for as long as it showed the same."""

    host = models.CharField(max_length=253)
    address = models.CharField(max_length=45)
    session = models.BinaryField()
    """A packed core.check.facts.Session."""
    digest = models.BinaryField(max_length=16)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()


class MxTarget(models.Model):
    """An address of an MX host, and how we fare with it. The host's name is the SNI, so both tell it."""

    host = models.CharField(max_length=253)
    address = models.CharField(max_length=45)
    current = models.ForeignKey(MxLook, null=True, on_delete=models.SET_NULL, related_name="+")
    """The last look that said anything about TLS; None: none ever did."""
    looked_at = models.DateTimeField(null=True)
    """When we last tried."""
    observed_at = models.DateTimeField(null=True)
    """When it last said anything."""
    reason = models.CharField(max_length=500, blank=True)
    """Why the last attempt saw nothing; empty where it saw something."""
    deep_at = models.DateTimeField(null=True)
    """When its versions and the slipped-in command were last tried."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["host", "address"], name="one_target_a_host_and_address")
        ]


class ProbeSlot(models.Model):
    """The right to connect to an MX host or address: one at a time, and so many an hour."""

    key = models.CharField(max_length=253, primary_key=True)
    claimed_until = models.DateTimeField(null=True)
    window_at = models.DateTimeField()
    """When the hour began that `connections` counts in."""
    connections = models.PositiveIntegerField(default=0)


class Check(models.Model):
    """What a domain was like, from `first_at` until `last_at`: looks that saw the same share a row."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="checks")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(null=True)
    """None: it still is."""
    digest = models.BinaryField(max_length=16)
    facts = models.BinaryField()
    """Packed core.check.facts.Facts without the sessions, which are in `looks`."""
    looks = models.ManyToManyField(MxLook, related_name="checks")
    findings = models.JSONField(default=list)
    """[code, severity, about] of each, as judged then."""
    letter = models.CharField(max_length=1, blank=True)
    """The grade; empty: none."""
    changes = models.JSONField(default=list)
    """What changed since the check before, in words."""


class Watch(models.Model):
    """When a domain is looked at next, and what is so now."""

    domain = models.OneToOneField(Domain, primary_key=True, on_delete=models.CASCADE, related_name="watch")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    due_at = models.DateTimeField(db_index=True)
    checked_at = models.DateTimeField(null=True)
    asked_at = models.DateTimeField(null=True)
    """When a person last wanted it checked at once."""
    current = models.ForeignKey(Check, null=True, on_delete=models.SET_NULL, related_name="+")
    is_pending = models.BooleanField(default=False)
    """Something was seen once, and is looked at again soon."""
    unobserved = models.JSONField(default=list)
    """[about, reason] of what the last check did not see, and is judged by what was seen before."""


class WatchFinding(models.Model):
    """A fault that the last checks of a domain show, and whether people hear of it (core.watch.standing)."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(
        Domain, on_delete=models.CASCADE, related_name="watch_findings", db_index=False
    )
    code = models.CharField(max_length=60)
    about = models.CharField(max_length=300)
    host = models.CharField(max_length=253, db_index=True)
    """The host or name in `about`."""
    severity = models.CharField(max_length=10)
    evidence = models.JSONField(default=list)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    """Of the last look that counted."""
    seen = models.PositiveSmallIntegerField(default=0)
    clear = models.PositiveSmallIntegerField(default=0)
    is_open = models.BooleanField(default=False)
    is_baseline = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["domain", "code", "about"], name="one_row_a_finding")]


class AskedCheck(models.Model):
    """A check of any domain that a person typed in."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=253)
    asked_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    facts = models.BinaryField(null=True)
    """Packed core.check.facts.Facts; None: not done yet."""


class AskedLook(models.Model):
    """Who wanted a domain of the platform looked at out of turn: strangers' servers see it, so it is kept."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="asked_looks", db_index=False)
    user = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    """None: the account is gone."""
    asked_at = models.DateTimeField()
    is_deep = models.BooleanField()
    """Versions and ciphers too."""

    class Meta:
        indexes = [models.Index(fields=["domain", "asked_at"], name="asked_looks_of_a_domain")]
