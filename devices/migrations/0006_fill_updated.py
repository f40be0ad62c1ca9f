from django.db import migrations
from django.db.models.functions import Coalesce

from mqtt_bridge.database.live_migrations import update_in_pieces


def fill(apps, schema_editor):
    """The last change of each row that its other columns tell of."""
    update_in_pieces(apps.get_model('devices', 'Device').objects.all(), updated=Coalesce('bound_at', 'created'))
    update_in_pieces(apps.get_model('devices', 'ServiceCallBatch').objects.all(), updated=Coalesce('stopped', 'created'))
    calls = apps.get_model('devices', 'ServiceCall').objects.all()
    update_in_pieces(calls, updated=Coalesce('closed', 'replied', 'sent', 'created'))


class Migration(migrations.Migration):
    atomic = False  # for update_in_pieces

    dependencies = [
        ('devices', '0005_updated'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
