from django.db import migrations
from django.db.models.functions import Coalesce


def fill(apps, schema_editor):
    """The last change of each row that its other columns tell of."""
    apps.get_model('devices', 'Device').objects.update(updated=Coalesce('bound_at', 'created'))
    apps.get_model('devices', 'ServiceCallBatch').objects.update(updated=Coalesce('stopped', 'created'))
    apps.get_model('devices', 'ServiceCall').objects.update(updated=Coalesce('closed', 'replied', 'sent', 'created'))


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0005_updated'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
