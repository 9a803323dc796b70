"""How the installation itself was found when it was last looked at."""

from django.db import models


class HealthLook(models.Model):
    """The last look of one machine's doctor at itself. Of the installation, and so of no organisation."""

    machine = models.CharField(max_length=64, primary_key=True)
    asked_at = models.DateTimeField(null=True)
    """When a person last wanted it looked at now."""
    looked_at = models.DateTimeField(null=True)
    seconds = models.FloatField(default=0)
    """How long that took."""
    sections = models.JSONField(default=list)
    """[{name, title, findings: [{grade, code, text, fix}]}]"""
    problems = models.JSONField(default=list)
    """`check/code` of the problems of the last look."""
    told = models.JSONField(default=list)
    """Those that people were told of and that are not over."""
