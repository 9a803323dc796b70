from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0026_from_relay"),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="outboxitem",
            name="outbox_by_time",
        ),
        migrations.AddIndex(
            model_name="outboxitem",
            index=models.Index(fields=["kind", "available_at"], name="outbox_by_kind_and_time"),
        ),
    ]
