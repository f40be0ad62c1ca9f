from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False  # for AddIndexLive

    dependencies = [
        ('devices', '0006_fill_updated'),
    ]

    operations = [
        AddIndexLive(
            model_name='device',
            index=models.Index(fields=['organization', 'updated', 'id'], name='device_changes'),
        ),
        AddIndexLive(
            model_name='servicecall',
            index=models.Index(fields=['organization', 'updated', 'id'], name='call_changes'),
        ),
    ]
