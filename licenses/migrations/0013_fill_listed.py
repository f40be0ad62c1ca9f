from django.db import migrations
from django.db.models import Exists, F, OuterRef

from licenses.geography import box_of
from licenses.models import BOX
from licenses.wording import Kind
from mqtt_bridge.database import bulk
from mqtt_bridge.database.live_migrations import PIECE, update_in_pieces


def mark_what_is_in_both(apps, schema_editor):
    """A list that an older bridge applies later is put right with its dock's next change."""
    licenses = apps.get_model('licenses', 'UnlockLicense').objects
    twins = licenses.filter(device=OuterRef('device'), license_id=OuterRef('license_id'))
    is_in_other = Exists(twins.exclude(device_model_domain=OuterRef('device_model_domain')))
    rows = licenses.alias(is_in_other=is_in_other).exclude(in_other_inventory=F('is_in_other'))
    update_in_pieces(rows, in_other_inventory=is_in_other)


def find_places(apps, schema_editor):
    """Of circles and polygons, a piece at a time, each in a transaction of its own."""
    licenses = apps.get_model('licenses', 'UnlockLicense').objects
    placed = licenses.filter(type__in=(Kind.CIRCLE, Kind.POLYGON)).only('type', 'details').order_by('pk')
    rows = list(placed[:PIECE])
    while rows:
        for row in rows:
            row.west, row.south, row.east, row.north = box_of(row)
        bulk.update(licenses.model, bulk.values_of(rows, ['id', *BOX]))
        rows = list(placed.filter(pk__gt=rows[-1].pk)[:PIECE])


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('licenses', '0012_in_other_inventory_and_box'),
    ]

    operations = [
        migrations.RunPython(mark_what_is_in_both, migrations.RunPython.noop),
        migrations.RunPython(find_places, migrations.RunPython.noop),
    ]
