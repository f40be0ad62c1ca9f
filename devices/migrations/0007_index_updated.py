from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0006_fill_updated'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='device',
            index=models.Index(fields=['organization', 'updated', 'id'], name='device_changes'),
        ),
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(fields=['organization', 'updated', 'id'], name='call_changes'),
        ),
    ]
