from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0023_dns_word"),
    ]

    operations = [
        migrations.AddField(
            model_name="profilechange",
            name="profile_before",
            field=models.JSONField(null=True),
        ),
    ]
