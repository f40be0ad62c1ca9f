from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False  # for AddIndexLive

    dependencies = [
        ('licenses', '0013_fill_listed'),
    ]

    operations = [
        AddIndexLive(
            model_name='unlocklicense',
            index=models.Index(condition=models.Q(('device_model_domain', 0), ('in_other_inventory', False), _connector='OR'), fields=['end_time', 'id'], include=['device', 'type', 'enabled', 'name', 'west', 'south', 'east', 'north'], name='license_listed'),
        ),
    ]
