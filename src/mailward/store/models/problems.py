"""Problems: one cause (result type x MX host or policy host) with the domains that it touches."""

from django.db import models

from mailward.store.models.accounts import Organisation
from mailward.store.models.domains import Domain


class Problem(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="problems")
    result_type = models.CharField(max_length=60)
    host = models.CharField(max_length=253)
    """The MX host or policy host; empty where reports do not say."""
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    first_day = models.DateField()
    last_day = models.DateField()
    """The last UTC day for which reports show it."""
    sessions = models.BigIntegerField(default=0)
    """Failed sessions in the window that was last looked at: the sum of those of its domains."""
    reporters = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "result_type", "host"],
                condition=models.Q(closed_at__isnull=True),
                name="one_open_problem_a_cause",
            )
        ]


class ProblemDomain(models.Model):
    problem = models.ForeignKey(Problem, on_delete=models.CASCADE, related_name="domains")
    domain = models.ForeignKey(Domain, on_delete=models.CASCADE, related_name="problems")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    first_day = models.DateField()
    last_day = models.DateField()
    sessions = models.BigIntegerField(default=0)
    """Failed sessions of the policy type that has the most, in the window that was last looked at."""
    gone_at = models.DateTimeField(null=True)
    """When reports showed it gone for this domain."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["problem", "domain"], name="one_row_a_problem_and_domain")
        ]


class Notification(models.Model):
    """That a person was told of a problem: once each."""

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="+", db_index=False)
    problem = models.ForeignKey(Problem, on_delete=models.CASCADE, related_name="notifications")
    recipient = models.EmailField()
    domains = models.PositiveIntegerField()
    """How many domains of this problem the mail named."""
    message_id = models.CharField(max_length=100, db_index=True)
    """The mail that tells it, the same however often it is tried; one mail may tell several problems."""
    queued_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    """When the relay accepted the mail."""
    error = models.CharField(max_length=500, blank=True)
    """Why the last attempt failed."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["problem", "recipient"], name="each_person_told_once")]
