import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0004_api_keys'),
    ]

    operations = [
        migrations.AddField(
            model_name='device',
            name='updated',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.AddField(
            model_name='servicecallbatch',
            name='updated',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.AddField(
            model_name='servicecall',
            name='updated',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
    ]
