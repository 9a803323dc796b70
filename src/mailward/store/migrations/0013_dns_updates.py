"""Zones of customers' own DNS servers, and what we wrote there."""

import django.db.models.deletion
from django.db import migrations, models

import mailward.net.clock


class Migration(migrations.Migration):
    dependencies = [("store", "0012_leaving")]

    operations = [
        migrations.CreateModel(
            name="DnsZone",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "organisation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="dns_zones",
                        to="store.organisation",
                    ),
                ),
                ("zone", models.CharField(max_length=253)),
                ("server", models.CharField(max_length=60)),
                ("key_name", models.CharField(max_length=253)),
                ("algorithm", models.CharField(max_length=20)),
                ("key", models.BinaryField()),
                ("is_forced", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=mailward.net.clock.now)),
            ],
            options={
                "ordering": ["zone"],
                "constraints": [
                    models.UniqueConstraint(fields=("organisation", "zone"), name="one_server_a_zone")
                ],
            },
        ),
        migrations.CreateModel(
            name="DnsWritten",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
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
                (
                    "domain",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="dns_written",
                        to="store.domain",
                    ),
                ),
                ("record", models.CharField(max_length=20)),
                ("attempts", models.JSONField(default=list)),
                ("written_at", models.DateTimeField(null=True)),
                ("error", models.CharField(blank=True, max_length=500)),
                ("tried_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("domain", "record"), name="one_writing_a_record")
                ],
            },
        ),
    ]
