from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive


class Migration(migrations.Migration):
    atomic = False  # for AddIndexLive

    dependencies = [
        ('devices', '0007_index_updated'),
    ]

    operations = [
        AddIndexLive(
            model_name='servicecall',
            index=models.Index(condition=models.Q(('idempotency_key', ''), _negated=True), fields=['idempotency_key'], name='call_idempotency_key'),
        ),
    ]
