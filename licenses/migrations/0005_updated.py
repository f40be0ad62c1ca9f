import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('licenses', '0004_index_license_lists'),
    ]

    operations = [
        migrations.AddField(
            model_name='unlocklicense',
            name='updated',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
    ]
