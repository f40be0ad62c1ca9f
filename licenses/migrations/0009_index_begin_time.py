from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0007_index_updated'),
        ('licenses', '0008_api_keys'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='unlocklicense',
            index=models.Index(fields=['begin_time', 'id'], name='license_begin'),
        ),
    ]
