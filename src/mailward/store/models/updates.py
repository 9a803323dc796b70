"""Zones of customers' own DNS servers that we may change (RFC 2136), and what we wrote there."""

from django.db import models

from mailward.net import clock
from mailward.store.models.accounts import Organisation
from mailward.store.models.domains import Domain


class DnsZone(models.Model):
    """The zone of one or more domains of an organisation, at a server that takes updates."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="dns_zones")
    zone = models.CharField(max_length=253)
    """A-label, lower case. Domains that are it or below it are kept there, in the longest that fits."""
    server = models.CharField(max_length=60)
    """`address` or `address:port`."""
    key_name = models.CharField(max_length=253)
    algorithm = models.CharField(max_length=20)
    key = models.BinaryField()
    """The TSIG secret, sealed (mailward.net.sealing)."""
    is_forced = models.BooleanField(default=False)
    """Records that we did not write give way."""
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["zone"]
        constraints = [models.UniqueConstraint(fields=["organisation", "zone"], name="one_server_a_zone")]


class DnsWritten(models.Model):
    """One record of a domain at its own DNS server."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="dns_written")
    record = models.CharField(max_length=20)
    """Which of the expected records: see mailward.monitor.records."""
    attempts = models.JSONField(default=list)
    """What we may have left there, the newest last: noted before it is sent, so that a crash disowns nothing."""
    written_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    tried_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["domain", "record"], name="one_writing_a_record")]
