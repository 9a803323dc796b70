"""Records that were right once and are not any more are told."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def remember(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    """What is right now was right once."""
    apps.get_model("store", "RecordCheck").objects.filter(state="right").update(was_right=True)


class Migration(migrations.Migration):
    dependencies = [("store", "0013_dns_updates")]

    operations = [
        migrations.AddField("recordcheck", "was_right", models.BooleanField(default=False)),
        migrations.AddField("recordcheck", "missed", models.PositiveSmallIntegerField(default=0)),
        migrations.AddField("recordcheck", "is_told", models.BooleanField(default=False)),
        migrations.RunPython(remember, migrations.RunPython.noop),
    ]
