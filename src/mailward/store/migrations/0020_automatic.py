from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("store", "0019_mx_held"),
    ]

    operations = [
        migrations.AddField(
            model_name="importrow",
            name="automatic_days",
            field=models.PositiveSmallIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="policyprofile",
            name="hold_days",
            field=models.PositiveSmallIntegerField(db_default=7, default=7),
        ),
        migrations.AddField(
            model_name="policyprofile",
            name="is_automatic",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
