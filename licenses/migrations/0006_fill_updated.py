from django.db import migrations
from django.db.models import F


def fill(apps, schema_editor):
    """A license was last changed when a list first held it as it is; who noted or switched it since is not known."""
    apps.get_model('licenses', 'UnlockLicense').objects.update(updated=F('seen_at'))


class Migration(migrations.Migration):

    dependencies = [
        ('licenses', '0005_updated'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
