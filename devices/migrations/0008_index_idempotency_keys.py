from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0007_index_updated'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='servicecall',
            index=models.Index(condition=models.Q(('idempotency_key', ''), _negated=True), fields=['idempotency_key'], name='call_idempotency_key'),
        ),
    ]
