"""Choices for many domains that go on where they were cut short."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import mailward.net.clock
import mailward.store.ids
import mailward.store.rowid


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0021_import_extensions"),
    ]

    operations = [
        migrations.AddField(
            model_name="rollout",
            name="chosen_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name="AutomaticChoice",
            fields=[
                (
                    "id",
                    mailward.store.rowid.RowId(
                        default=mailward.store.ids.new_id, primary_key=True, serialize=False
                    ),
                ),
                ("reason", models.CharField(max_length=300)),
                ("is_automatic", models.BooleanField()),
                ("hold_days", models.PositiveSmallIntegerField()),
                ("ids", models.JSONField(default=list)),
                ("total", models.PositiveIntegerField()),
                ("done", models.PositiveIntegerField(default=0)),
                ("changed", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(default=mailward.net.clock.now)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "author",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "organisation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="store.organisation",
                    ),
                ),
                (
                    "profile",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="store.policyprofile",
                    ),
                ),
            ],
        ),
    ]
