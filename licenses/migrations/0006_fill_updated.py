from django.db import migrations
from django.db.models import F

from mqtt_bridge.database.live_migrations import update_in_pieces


def fill(apps, schema_editor):
    """A license was last changed when a list first held it as it is; who noted or switched it since is not known."""
    update_in_pieces(apps.get_model('licenses', 'UnlockLicense').objects.all(), updated=F('seen_at'))


class Migration(migrations.Migration):
    atomic = False  # for update_in_pieces

    dependencies = [
        ('licenses', '0005_updated'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
