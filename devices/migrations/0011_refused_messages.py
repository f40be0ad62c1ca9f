from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('devices', '0010_fill_pairings'),
    ]

    operations = [
        migrations.AddField(
            model_name='devicestate',
            name='refused',
            field=models.PositiveBigIntegerField(default=0, help_text='Messages and values that could not be read.'),
        ),
        migrations.AddField(
            model_name='devicestate',
            name='refused_at',
            field=models.DateTimeField(help_text='When the last of them came.', null=True),
        ),
        migrations.AddField(
            model_name='devicestate',
            name='refused_why',
            field=models.CharField(blank=True, max_length=200),
        ),
    ]
