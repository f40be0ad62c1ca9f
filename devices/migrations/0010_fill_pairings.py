from django.db import migrations
from django.db.models.functions import Coalesce


def fill(apps, schema_editor):
    """What docks carried until now, as pairings."""
    Pairing = apps.get_model('devices', 'Pairing')
    carried = apps.get_model('devices', 'Device').objects.exclude(gateway=None)
    rows = carried.annotate(seen=Coalesce('state__last_seen', 'created')).values_list('pk', 'gateway', 'created', 'seen')
    Pairing.objects.bulk_create(
        (
            Pairing(
                aircraft_id=aircraft, dock_id=dock, since=created, linked_since=created, changed_at=seen, witness='record'
            )
            for aircraft, dock, created, seen in rows.iterator()
        ),
        batch_size=1000,
    )


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0009_pairing'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
