"""Policy domains, the policies that we serve for them, and the state of their records."""

from django.db import models

from mailward.net import clock
from mailward.store.models.accounts import Organisation, User
from mailward.store.tokens import make_delegation_token


class Domain(models.Model):
    """A policy domain of an organisation. Its claim counts once a TXT record has proved it."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="domains")
    name = models.CharField(max_length=253)
    """A-label, lower case, no trailing dot."""
    report_token = models.CharField(max_length=64, unique=True)
    """Local part of the domain's report address, and the token in the path of its HTTPS door."""
    claim_token = models.CharField(max_length=64)
    delegation_token = models.CharField(max_length=63, unique=True, default=make_delegation_token)
    """The label of our zone below which this domain's records stand. Who makes a CNAME to it holds the domain."""
    claim_verified_at = models.DateTimeField(null=True)
    current_version = models.ForeignKey(
        "PolicyVersion", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    """The policy that is served; None: none."""
    announced_version = models.ForeignKey(
        "PolicyVersion", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    """The one whose id our nameserver tells: every policy host was seen to serve it."""
    records_checked_at = models.DateTimeField(null=True)
    test_report_nonce = models.CharField(max_length=64, blank=True)
    test_report_sent_at = models.DateTimeField(null=True)
    test_report_arrived_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="one_domain_an_organisation"),
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(claim_verified_at__isnull=False), name="one_proved_claim"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PolicyVersion(models.Model):
    """One policy as it was served (RFC 8461 section 3.2). Never changed after it is written, but for what was seen."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+")
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    policy_id = models.CharField(max_length=32)
    """The `id` of the `_mta-sts` record that goes with it."""
    mode = models.CharField(max_length=10)
    max_age_seconds = models.PositiveIntegerField()
    mx = models.JSONField(default=list)
    text = models.TextField()
    """The exact body served."""
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    reason = models.CharField(max_length=500, blank=True)
    restored_from = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(default=clock.now)
    announced_at = models.DateTimeField(null=True)
    """When every policy host was first seen to serve it. None: never, or not yet."""

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["domain", "number"], name="one_version_a_number"),
            models.UniqueConstraint(fields=["domain", "policy_id"], name="one_version_an_id"),
        ]


class HostingGeneration(models.Model):
    """One row (id 1) that counts up with every change of what is hosted, for snapshots to reload by."""

    value = models.BigIntegerField(default=0)
    mark = models.BigIntegerField(default=0)
    """Random, another one with each change: a restored backup that counts to the same value has another."""
    zone_value = models.BigIntegerField(default=0)
    """The value of the last change that our nameserver's zone may show: its serial."""


class HostingChange(models.Model):
    """What changed, so that a snapshot takes up a change without reading everything. Thrown away after a while:
    who is further behind reads everything.
    """

    generation = models.BigIntegerField(db_index=True)
    mark = models.BigIntegerField()
    domain_id = models.BigIntegerField(null=True)
    """Also of a domain that is gone by now; None: anything may have changed."""


class RecordCheck(models.Model):
    """The last answer to one record that a customer should publish."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+")
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="record_checks")
    record = models.CharField(max_length=20)
    """Which of the expected records: see mailward.monitor.records."""
    state = models.CharField(max_length=20)
    """right, missing, wrong, conflicting or unknown (could not ask)."""
    detail = models.TextField(blank=True)
    observed = models.JSONField(default=list)
    checked_at = models.DateTimeField()
    was_right = models.BooleanField(default=False)
    """Whether it ever was: what was never set up is no news (core.watch.upkeep, here and below)."""
    missed = models.PositiveSmallIntegerField(default=0)
    is_told = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["domain", "record"], name="one_check_a_record")]


class DomainRecipient(models.Model):
    """Somebody who hears of this domain's problems without a login."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+")
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="recipients")
    email = models.EmailField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["domain", "email"], name="one_recipient_an_address")]
