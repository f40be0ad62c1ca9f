from django.db import migrations
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Left

from mqtt_bridge.database.live_migrations import update_in_pieces


def fill(apps, schema_editor):
    """What docks named in their last frame, which was learnt from it."""
    states = apps.get_model('devices', 'DeviceState').objects.filter(named='')
    naming = states.filter(properties__sub_device__device_sn__gt='')
    update_in_pieces(naming, named=Left(KeyTextTransform('device_sn', 'properties__sub_device'), 64))


class Migration(migrations.Migration):
    atomic = False  # for update_in_pieces

    dependencies = [
        ('devices', '0021_told'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
