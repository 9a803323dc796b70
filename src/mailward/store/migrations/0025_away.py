"""Stepping back: releases before this one do not know that a CA may be away, and look after no such certificate; nor that
an MX host has left where nothing follows.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from mailward.net import clock


def end_unknown(apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    for name in ("CertificateCare", "OwnNameCare"):
        # what they say of it themselves
        apps.get_model("store", name).objects.filter(state="away").update(state="queued")
    left = apps.get_model("store", "MxChange").objects.filter(state="left", ended_at=None)
    left.update(state="withdrawn", ended_at=clock.now())


class Migration(migrations.Migration):
    dependencies = [("store", "0024_profile_before")]

    operations = [migrations.RunPython(migrations.RunPython.noop, end_unknown)]
