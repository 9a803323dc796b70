"""What changed of what is hosted, so that a change of one domain is taken up without reading all of them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("store", "0005_fetches")]

    operations = [
        migrations.AddField("hostinggeneration", "mark", models.BigIntegerField(default=0)),
        migrations.AddField("hostinggeneration", "zone_value", models.BigIntegerField(default=0)),
        # the serial goes on where it was
        migrations.RunSQL("UPDATE store_hostinggeneration SET zone_value = value", migrations.RunSQL.noop),
        migrations.CreateModel(
            "HostingChange",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("generation", models.BigIntegerField(db_index=True)),
                ("mark", models.BigIntegerField()),
                ("domain_id", models.BigIntegerField(null=True)),
            ],
        ),
    ]
