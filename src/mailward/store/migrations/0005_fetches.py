"""Who fetched which policy, a day."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0004_delegation"),
    ]

    operations = [
        migrations.CreateModel(
            name="DailyFetches",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "domain",
                        "day",
                        "fetcher",
                        "agent",
                        "network",
                        "status",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("day", models.DateField()),
                ("fetcher", models.CharField(max_length=40)),
                ("agent", models.CharField(max_length=60)),
                ("network", models.CharField(max_length=43)),
                ("status", models.PositiveSmallIntegerField()),
                ("fetches", models.BigIntegerField(default=0)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                (
                    "domain",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="store.domain",
                    ),
                ),
                (
                    "organisation",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="store.organisation",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["day"], name="fetches_by_day")],
            },
        ),
    ]
