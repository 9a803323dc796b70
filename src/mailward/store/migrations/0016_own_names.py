"""Certificates for names of the installation's own, which belong to no organisation."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0015_notice_page"),
    ]

    operations = [
        migrations.CreateModel(
            name="OwnNameCare",
            fields=[
                ("directory", models.CharField(blank=True, max_length=500)),
                ("profile", models.CharField(blank=True, max_length=100)),
                ("state", models.CharField(default="claim", max_length=20)),
                ("detail", models.CharField(blank=True, max_length=1000)),
                ("due_at", models.DateTimeField(db_index=True)),
                ("waiting_since", models.DateTimeField(null=True)),
                ("renew_at", models.DateTimeField(null=True)),
                ("renew_why", models.CharField(blank=True, max_length=20)),
                ("explanation_url", models.CharField(blank=True, max_length=500)),
                ("ask_at", models.DateTimeField(null=True)),
                ("failures", models.JSONField(default=dict)),
                ("failed_at", models.DateTimeField(null=True)),
                ("host", models.CharField(max_length=253, primary_key=True, serialize=False)),
            ],
        ),
        migrations.AlterField(
            model_name="acmeorder",
            name="domain",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="orders",
                to="store.domain",
            ),
        ),
        migrations.AlterField(
            model_name="acmeorder",
            name="organisation",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="store.organisation",
            ),
        ),
        migrations.AlterField(
            model_name="certificate",
            name="domain",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="certificates",
                to="store.domain",
            ),
        ),
        migrations.AlterField(
            model_name="certificate",
            name="organisation",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="store.organisation",
            ),
        ),
        migrations.AddConstraint(
            model_name="acmeorder",
            constraint=models.UniqueConstraint(
                condition=models.Q(("domain__isnull", True), ("ended_at__isnull", True)),
                fields=("host",),
                name="one_open_order_an_own_name",
            ),
        ),
        migrations.AddField(
            model_name="ownnamecare",
            name="current",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="store.certificate",
            ),
        ),
    ]
