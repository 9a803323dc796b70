from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0022_automatic_choice"),
    ]

    operations = [
        migrations.AddField(
            model_name="certificatecare",
            name="dns_word",
            field=models.CharField(blank=True, db_default="", default="", max_length=64),
        ),
    ]
