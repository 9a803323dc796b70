"""Telling the policy host that what it serves has changed."""

from django.db.models import F

from mailward.store.models import HostingGeneration


def bump_generation() -> None:
    """Count up in the transaction of the change: once that is committed, the policy host reloads."""
    if not HostingGeneration.objects.filter(pk=1).update(value=F("value") + 1):
        HostingGeneration.objects.get_or_create(pk=1, defaults={"value": 1})
