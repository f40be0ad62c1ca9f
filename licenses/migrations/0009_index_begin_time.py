from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False  # for AddIndexLive

    dependencies = [
        ('devices', '0007_index_updated'),
        ('licenses', '0008_api_keys'),
    ]

    operations = [
        AddIndexLive(
            model_name='unlocklicense',
            index=models.Index(fields=['begin_time', 'id'], name='license_begin'),
        ),
    ]
