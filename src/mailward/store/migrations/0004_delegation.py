"""Each domain has a label of its own in our zone, and the policy version whose id is announced there."""

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from mailward.store.tokens import make_delegation_token


def give_tokens(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    domains = apps.get_model("store", "Domain").objects
    for pk in domains.values_list("pk", flat=True).iterator():
        domains.filter(pk=pk).update(delegation_token=make_delegation_token())


def check_references(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """PostgreSQL alters no table whose changed rows it has yet to check."""
    if editor.connection.vendor == "postgresql":
        editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


class Migration(migrations.Migration):
    dependencies = [("store", "0003_watching")]

    operations = [
        migrations.AddField("domain", "delegation_token", models.CharField(max_length=63, default="")),
        migrations.AddField(
            "domain",
            "announced_version",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="store.policyversion",
            ),
        ),
        # what was served before is announced: nobody waits for a change
        migrations.RunPython(give_tokens, migrations.RunPython.noop),
        migrations.RunSQL(
            "UPDATE store_domain SET announced_version_id = current_version_id", migrations.RunSQL.noop
        ),
        migrations.RunPython(check_references, migrations.RunPython.noop),
        migrations.AlterField(
            "domain",
            "delegation_token",
            models.CharField(max_length=63, unique=True, default=make_delegation_token),
        ),
    ]
