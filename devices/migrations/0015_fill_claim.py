from django.db import migrations
from django.db.models import F, Q

from mqtt_bridge.database.live_migrations import update_in_pieces


def fill(apps, schema_editor):
    """What made somebody the owner until now. The aircraft that a dock of its owner has is taken for proven."""
    bound = apps.get_model('devices', 'Device').objects.filter(organization__isnull=False)
    aircraft = Q(gateway__isnull=False) | Q(model_key__startswith='0-')
    update_in_pieces(bound.filter(aircraft), claim='named')
    update_in_pieces(bound.exclude(aircraft).filter(bound_with=None), claim='person')
    update_in_pieces(bound.exclude(aircraft).exclude(bound_with=None), claim='code')
    pairings = apps.get_model('devices', 'Pairing').objects.filter(until=None)
    update_in_pieces(pairings.filter(dock__organization=F('aircraft__organization')), is_heard=True)


class Migration(migrations.Migration):
    atomic = False  # for update_in_pieces

    dependencies = [
        ('devices', '0014_claim'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
