from django.db import migrations
from django.db.models import F
from django.db.models.functions import Coalesce


def fill(apps, schema_editor):
    """The last change of each row that its other columns tell of."""
    apps.get_model('organizations', 'Organization').objects.update(updated=F('created'))
    apps.get_model('organizations', 'BindingCode').objects.update(updated=Coalesce('revoked_at', 'created'))


class Migration(migrations.Migration):

    dependencies = [
        ('organizations', '0004_updated'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
