from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0025_away"),
    ]

    operations = [
        migrations.AddField(
            model_name="quarantinedmessage",
            name="from_relay",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
