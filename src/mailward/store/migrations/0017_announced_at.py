"""Versions know when every policy host was seen to serve them; for those of before, the history does."""

import re

from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

_TOLD = re.compile(r"Every policy host serves version ([0-9]{1,9}):", re.ASCII)


def read_history(apps: StateApps, _editor: BaseDatabaseSchemaEditor) -> None:
    events = apps.get_model("store", "DomainEvent").objects.filter(kind="policy-announced").order_by("at")
    versions = apps.get_model("store", "PolicyVersion").objects
    for domain_id, at, text in events.values_list("domain_id", "at", "text").iterator(2_000):
        if found := _TOLD.match(text):
            rows = versions.filter(domain_id=domain_id, number=int(found[1]), announced_at=None)
            rows.update(announced_at=at)


class Migration(migrations.Migration):
    dependencies = [("store", "0016_own_names")]

    operations = [
        migrations.AddField("policyversion", "announced_at", models.DateTimeField(null=True)),
        migrations.RunPython(read_history, migrations.RunPython.noop),
    ]
