"""TLS reports as they came, as they were read, and as they are counted.

Pages of a domain read the daily tables only; `Report` is read one at a time or a page of its list.
"""

from django.db import models

from mailward.net import clock
from mailward.store.ids import new_id
from mailward.store.models.accounts import Organisation, User
from mailward.store.models.domains import Domain
from mailward.store.rowid import RowId


class Door(models.TextChoices):
    SMTP = "smtp", "Mail"
    HTTPS = "https", "HTTPS"
    UPLOAD = "upload", "Upload"
    IMPORT = "import", "Import"


class Trust(models.TextChoices):
    """Who vouches for a report. Only the first three are counted."""

    VERIFIED = "verified", "Verified by DKIM"
    VOUCHED_RELAY = "vouched-relay", "Vouched for by our relay"
    VOUCHED_PERSON = "vouched-person", "Imported by a person"
    PENDING = "pending", "Waiting for DNS"
    UNVERIFIED = "unverified", "Not verified"
    FAILED = "failed", "Verification failed"
    TEST = "test", "Test report"


class RawMessage(models.Model):
    """The bytes that came through a door."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    door = models.CharField(max_length=10, choices=Door)
    name = models.CharField(max_length=255, blank=True)
    """File name of an upload or import."""
    content = models.BinaryField()
    received_at = models.DateTimeField()


class Report(models.Model):
    """One report, for the one domain that it belongs to (none: foreign)."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(
        Domain, null=True, on_delete=models.CASCADE, related_name="reports", db_index=False
    )
    """None: foreign, about a domain that the address does not own."""
    domain_key = models.BigIntegerField()
    """The domain's id, or 0 where it is foreign: NULL would not be unique."""
    address_domain = models.ForeignKey(
        Domain, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    """The domain whose address it came to; None: the organisation's."""
    raw = models.ForeignKey(RawMessage, on_delete=models.CASCADE, related_name="reports", db_index=False)
    content_hash = models.BinaryField(max_length=32)
    """SHA-256 of the canonical content."""
    trust = models.CharField(max_length=16, choices=Trust)
    dkim = models.CharField(max_length=12)
    """A mailward.core.dkim.Result value, or "" where the door has none."""
    dkim_detail = models.CharField(max_length=500, blank=True)
    signer = models.CharField(max_length=253, blank=True)
    """The DKIM domain that vouches for it; empty where none does."""
    counted = models.BooleanField(default=False)
    """Whether the daily tables hold it."""
    imported_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    door = models.CharField(max_length=10, choices=Door)
    reporter = models.CharField(max_length=253)
    """Who it counts for: the signer, else the domain of contact-info, else the organisation name."""
    organization_name = models.CharField(max_length=255, blank=True)
    report_id = models.CharField(max_length=500, blank=True)
    day = models.DateField(null=True)
    start = models.DateTimeField(null=True)
    end = models.DateTimeField(null=True)
    policy_domains = models.CharField(max_length=1000, blank=True)
    """For display and search: the policy domains, separated by spaces."""
    ok = models.BigIntegerField(null=True)
    """Sessions of the policy type with the most sessions: never a sum over types."""
    failed = models.BigIntegerField(null=True)
    parsed = models.BinaryField()
    """The typed report: mailward.core.tlsrpt.schema.Report as JSON (UTF-8), see store.packed."""
    deviations = models.BinaryField()
    """The deviations found by the as-received reading, JSON (UTF-8), see store.packed."""
    tls_report_domain = models.CharField(max_length=253, blank=True)
    received_at = models.DateTimeField()
    copies = models.PositiveIntegerField(default=1)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "domain_key", "content_hash"], name="one_report_a_content"
            )
        ]
        indexes = [
            # ids grow with the time of arrival, so lists are paged by them
            models.Index(fields=["organisation", "id"], name="report_by_arrival"),
            models.Index(fields=["organisation", "domain_key", "id"], name="report_by_domain"),
            models.Index(fields=["organisation", "report_id"], name="report_by_id"),
            models.Index(fields=["organisation", "reporter", "id"], name="report_by_reporter"),
            # what is rare among many is found without reading all of them
            models.Index(
                fields=["organisation", "domain_key", "id"],
                condition=models.Q(counted=False),
                name="report_not_counted",
            ),
            models.Index(
                fields=["organisation", "domain_key", "id"],
                condition=models.Q(failed__gt=0),
                name="report_with_failures",
            ),
            # the same two over all domains; the order of these is that of the list
            models.Index(
                fields=["organisation", "id"],
                condition=models.Q(counted=False, domain__isnull=False),
                name="report_not_counted_anywhere",
            ),
            models.Index(
                fields=["organisation", "id"],
                condition=models.Q(failed__gt=0),
                name="report_with_failures_anywhere",
            ),
            # whose bytes are still needed; it grows at its end only
            models.Index(fields=["raw"], name="report_by_raw"),
        ]


class Receipt(models.Model):
    """A later copy of a report that we had already. The first 20 are kept; `Report.copies` counts all."""

    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="receipts")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    door = models.CharField(max_length=10, choices=Door)
    trust = models.CharField(max_length=16, choices=Trust)
    detail = models.CharField(max_length=500, blank=True)
    received_at = models.DateTimeField(default=clock.now)


class QuarantinedMessage(models.Model):
    """What came through a door and could not be read."""

    id = RowId(primary_key=True, default=new_id)
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+")
    address_domain = models.ForeignKey(
        Domain, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    raw = models.ForeignKey(RawMessage, on_delete=models.CASCADE, related_name="+", db_index=False)
    imported_by = models.ForeignKey(
        User, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    reason = models.CharField(max_length=40)
    """The code of mailward.core.tlsrpt.errors.Unreadable."""
    detail = models.CharField(max_length=500, blank=True)
    received_at = models.DateTimeField()
    read_again_at = models.DateTimeField(null=True)
    from_relay = models.BooleanField(default=False, db_default=False)
    """It came from a relay of ours, whose Authentication-Results may be believed when it is read again."""

    class Meta:
        indexes = [models.Index(fields=["raw"], name="quarantined_by_raw")]


class DailySessions(models.Model):
    """Sessions a day, per policy type and reporter, from counted reports."""

    # no number of its own: what a row is about is its key, and an index less is written for each report
    pk = models.CompositePrimaryKey("domain", "day", "policy_type", "reporter")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    policy_type = models.CharField(max_length=40)
    reporter = models.CharField(max_length=253)
    ok = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    reports = models.BigIntegerField(default=0)


class DailyFailures(models.Model):
    """Failed sessions a day, per policy type, cause, and sending source, from counted reports."""

    pk = models.CompositePrimaryKey(
        "domain", "day", "policy_type", "result_type", "host", "reporter", "sending_ip"
    )
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    policy_type = models.CharField(max_length=40)
    result_type = models.CharField(max_length=60)
    host = models.CharField(max_length=253)
    """The receiving MX host, or the policy host for failures of the policy; empty: not said."""
    reporter = models.CharField(max_length=253)
    sending_ip = models.CharField(max_length=45)
    """RFC 5952 text; empty: not said, or beyond the number of addresses kept apart a report."""
    sessions = models.BigIntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["organisation", "result_type", "host", "day"], name="failures_by_cause"),
        ]
