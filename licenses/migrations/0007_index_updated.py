from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('licenses', '0006_fill_updated'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(fields=['updated', 'id'], name='license_changes'),
        ),
    ]
