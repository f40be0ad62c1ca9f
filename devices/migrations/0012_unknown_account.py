from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("devices", "0011_refused_messages")]

    operations = [
        migrations.AlterField(
            model_name="deviceaccount",
            name="status",
            field=models.CharField(
                choices=[
                    ("logged_out", "logged out"),
                    ("logging_in", "logging in"),
                    ("verification_required", "verification required"),
                    ("logged_in", "logged in"),
                    ("failed", "failed"),
                    ("unknown", "unknown: the dock may be logged in"),
                ],
                default="logged_out",
                max_length=24,
            ),
        ),
    ]
