from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False  # for AddIndexLive

    dependencies = [
        ('licenses', '0006_fill_updated'),
    ]

    operations = [
        AddIndexLive(
            model_name='unlocklicense',
            index=models.Index(fields=['updated', 'id'], name='license_changes'),
        ),
    ]
