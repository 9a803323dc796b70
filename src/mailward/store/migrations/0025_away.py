"""Stepping back: releases before this one do not know that a CA may be away, and look after no such certificate."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def await_turn(apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    for name in ("CertificateCare", "OwnNameCare"):
        # what they say of it themselves
        apps.get_model("store", name).objects.filter(state="away").update(state="queued")


class Migration(migrations.Migration):
    dependencies = [("store", "0024_profile_before")]

    operations = [migrations.RunPython(migrations.RunPython.noop, await_turn)]
