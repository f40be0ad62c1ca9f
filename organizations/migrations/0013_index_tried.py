from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False  # for AddIndexLive

    dependencies = [
        ('organizations', '0012_strong_codes'),
    ]

    operations = [
        AddIndexLive(
            model_name='bindingfailure',
            index=models.Index(fields=['organization_id_tried', 'last_at'], name='binding_failure_tried'),
        ),
    ]
