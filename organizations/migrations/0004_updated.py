import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('organizations', '0003_api_keys'),
    ]

    operations = [
        migrations.AddField(
            model_name='organization',
            name='updated',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.AddField(
            model_name='bindingcode',
            name='updated',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
    ]
