"""A notice says where it stands on the console, and need not be about one domain."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("store", "0014_upkeep")]

    operations = [
        migrations.AddField("notice", "page", models.CharField(blank=True, default="", max_length=300)),
        migrations.AlterField(
            "notice",
            "domain",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="store.domain",
            ),
        ),
    ]
