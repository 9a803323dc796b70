"""Problems: one cause (result type or finding x host) with the domains that it touches.

Reports and our own checks both open them, and a cause that both see is one problem.
"""

from django.db import models

from mailward.store.models.accounts import Organisation
from mailward.store.models.domains import Domain


class Problem(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="problems")
    result_type = models.CharField(max_length=60)
    """What it was opened by: a result type of reports, or the code of a check's finding (often the same word)."""
    reported_as = models.CharField(max_length=60, blank=True)
    """The result type that senders report for it; empty: they report nothing."""
    code = models.CharField(max_length=60, blank=True)
    """Of the finding that our checks show for it; says more than a result type. Empty: none did."""
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

    @property
    def cause(self) -> str:
        """The finer word for it, which the catalogues explain."""
        return self.code or self.result_type

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
    is_reported = models.BooleanField(default=True)
    """Whether reports show it, and have not shown it gone."""
    is_checked = models.BooleanField(default=False)
    """Whether our checks show it now."""
    gone_at = models.DateTimeField(null=True)
    """When whoever had shown it showed it gone for this domain."""

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
