from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0018_health"),
    ]

    operations = [
        migrations.AddField(
            model_name="mxchange",
            name="held_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="mxchange",
            name="is_told",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
