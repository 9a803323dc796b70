"""How far each domain is on its way to enforce; profiles, their changes, and imports of many domains."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import mailward.net.clock
import mailward.store.ids
import mailward.store.rowid


class Migration(migrations.Migration):
    dependencies = [("store", "0010_mx_changes")]

    operations = [
        migrations.CreateModel(
            name="Rollout",
            fields=[
                (
                    "domain",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="rollout",
                        serialize=False,
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
                ("state", models.CharField(max_length=20)),
                ("codes", models.JSONField(default=list)),
                ("sentence", models.CharField(blank=True, max_length=1000)),
                ("judged_at", models.DateTimeField(db_index=True, null=True)),
                ("ready_since", models.DateTimeField(null=True)),
                ("is_automatic", models.BooleanField(default=False)),
                ("hold_days", models.PositiveSmallIntegerField(default=7)),
                ("steps_back", models.BooleanField(default=False)),
            ],
            options={
                "indexes": [models.Index(fields=["organisation", "state"], name="rollout_by_state")],
            },
        ),
        migrations.CreateModel(
            name="PolicyProfile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("mode", models.CharField(max_length=10)),
                ("max_age_seconds", models.PositiveIntegerField()),
                ("mx", models.JSONField(default=list)),
                ("created_at", models.DateTimeField(default=mailward.net.clock.now)),
                (
                    "organisation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="store.organisation"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DomainImport",
            fields=[
                (
                    "id",
                    mailward.store.rowid.RowId(
                        default=mailward.store.ids.new_id, primary_key=True, serialize=False
                    ),
                ),
                ("source", models.CharField(max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("looking", "Being looked at"),
                            ("planned", "Dry run"),
                            ("running", "Being carried out"),
                            ("done", "Done"),
                            ("dropped", "Dropped"),
                        ],
                        max_length=10,
                    ),
                ),
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
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="store.organisation"
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
        migrations.CreateModel(
            name="ProfileChange",
            fields=[
                (
                    "id",
                    mailward.store.rowid.RowId(
                        default=mailward.store.ids.new_id, primary_key=True, serialize=False
                    ),
                ),
                ("mode", models.CharField(max_length=10)),
                ("max_age_seconds", models.PositiveIntegerField()),
                ("mx", models.JSONField(default=list)),
                ("reason", models.CharField(blank=True, max_length=300)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("preparing", "Being prepared"),
                            ("draft", "Preview"),
                            ("running", "A wave is going out"),
                            ("waiting", "Waiting for the next wave"),
                            ("stopped", "Stopped"),
                            ("done", "Done"),
                            ("undoing", "Being undone"),
                            ("undone", "Undone"),
                            ("dropped", "Dropped"),
                        ],
                        db_index=True,
                        max_length=10,
                    ),
                ),
                ("wave", models.PositiveSmallIntegerField(default=0)),
                ("wave_hours", models.PositiveSmallIntegerField(default=24)),
                ("began_at", models.DateTimeField(null=True)),
                ("wave_ended_at", models.DateTimeField(null=True)),
                ("stop_reason", models.CharField(blank=True, max_length=500)),
                ("created_at", models.DateTimeField(default=mailward.net.clock.now)),
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
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="store.organisation",
                    ),
                ),
                (
                    "profile",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="changes",
                        to="store.policyprofile",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ProfileChangeDomain",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "change", "domain", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "effect",
                    models.CharField(
                        choices=[("changed", "Changes"), ("same", "Stays the same"), ("refused", "Refused")],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("wave", models.PositiveSmallIntegerField(default=0)),
                ("applied_at", models.DateTimeField(null=True)),
                ("undone_at", models.DateTimeField(null=True)),
                (
                    "after",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="store.policyversion",
                    ),
                ),
                (
                    "before",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="store.policyversion",
                    ),
                ),
                (
                    "change",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="domains",
                        to="store.profilechange",
                    ),
                ),
                (
                    "domain",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="store.domain"
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
        ),
        migrations.CreateModel(
            name="ProfileMember",
            fields=[
                (
                    "domain",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="profile_member",
                        serialize=False,
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
                (
                    "profile",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="members",
                        to="store.policyprofile",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ImportRow",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "batch", "number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.PositiveIntegerField()),
                ("where", models.CharField(max_length=120)),
                ("name", models.CharField(max_length=253)),
                ("mx", models.JSONField(default=list)),
                ("mode", models.CharField(blank=True, max_length=10)),
                ("max_age_seconds", models.PositiveIntegerField(null=True)),
                ("verdict", models.CharField(blank=True, max_length=20)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("done_at", models.DateTimeField(null=True)),
                (
                    "batch",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rows",
                        to="store.domainimport",
                    ),
                ),
                (
                    "domain",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
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
                "indexes": [
                    models.Index(fields=["batch", "verdict", "done_at"], name="import_rows_by_verdict")
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="policyprofile",
            constraint=models.UniqueConstraint(fields=("organisation", "name"), name="one_profile_a_name"),
        ),
        migrations.AddIndex(
            model_name="profilechangedomain",
            index=models.Index(fields=["change", "wave", "applied_at"], name="change_domains_by_wave"),
        ),
    ]
