"""Who fetched which policy, and when, as the policy hosts counted it."""

from django.db import models

from mailward.store.models.accounts import Organisation
from mailward.store.models.domains import Domain


class DailyFetches(models.Model):
    """Requests to a domain's policy host a day, per client as it calls itself, its network, and our status."""

    pk = models.CompositePrimaryKey("domain", "day", "fetcher", "agent", "network", "status")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="+", db_index=False)
    day = models.DateField()
    fetcher = models.CharField(max_length=40)
    """The slug of mailward.core.fetchers, by User-Agent or reverse name; empty: unknown."""
    agent = models.CharField(max_length=60)
    """The first product of User-Agent, in lower case; empty: none, or beyond what is kept apart."""
    network = models.CharField(max_length=43)
    """The IPv4 /24 or IPv6 /48 that it came from; empty: beyond what is kept apart."""
    status = models.PositiveSmallIntegerField()
    """Of our answer: 200 and 304 are fetches."""
    fetches = models.BigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["day"], name="fetches_by_day")]
