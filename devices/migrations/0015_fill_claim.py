from django.db import migrations
from django.db.models import F, Q


def fill(apps, schema_editor):
    """What made somebody the owner until now. The aircraft that a dock of its owner has is taken for proven."""
    bound = apps.get_model('devices', 'Device').objects.filter(organization__isnull=False)
    aircraft = Q(gateway__isnull=False) | Q(model_key__startswith='0-')
    bound.filter(aircraft).update(claim='named')
    bound.exclude(aircraft).filter(bound_with=None).update(claim='person')
    bound.exclude(aircraft).exclude(bound_with=None).update(claim='code')
    pairings = apps.get_model('devices', 'Pairing').objects.filter(until=None)
    pairings.filter(dock__organization=F('aircraft__organization')).update(is_heard=True)


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0014_claim'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
