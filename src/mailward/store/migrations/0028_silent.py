from django.db import migrations, models

_FIELDS = {"silent_address": 64, "silent_directory": 500}


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0027_outbox_by_kind_and_time"),
    ]

    operations = [
        migrations.AddField(
            model_name=model,
            name=name,
            field=models.CharField(blank=True, db_default="", default="", max_length=length),
        )
        for model in ("certificatecare", "ownnamecare")
        for name, length in _FIELDS.items()
    ]
