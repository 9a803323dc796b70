from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0020_automatic"),
    ]

    operations = [
        migrations.AddField(
            model_name="importrow",
            name="extensions",
            field=models.JSONField(null=True),
        ),
    ]
