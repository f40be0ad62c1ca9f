from django.db import migrations
from django.db.models import Exists, F, OuterRef

from mqtt_bridge.database.live_migrations import update_in_pieces


def fill(apps, schema_editor):
    """Mark what is in both inventories of a dock. A list that an older bridge applies later is put right with its dock's next change."""
    licenses = apps.get_model('licenses', 'UnlockLicense').objects
    twins = licenses.filter(device=OuterRef('device'), license_id=OuterRef('license_id'))
    is_in_other = Exists(twins.exclude(device_model_domain=OuterRef('device_model_domain')))
    rows = licenses.alias(is_in_other=is_in_other).exclude(in_other_inventory=F('is_in_other'))
    update_in_pieces(rows, in_other_inventory=is_in_other)


class Migration(migrations.Migration):
    atomic = False  # for update_in_pieces

    dependencies = [
        ('licenses', '0012_in_other_inventory'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
