from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('licenses', '0011_index_search'),
    ]

    operations = [
        migrations.AddField(
            model_name='unlocklicense',
            name='in_other_inventory',
            field=models.BooleanField(db_default=False, default=False, editable=False, help_text="Whether the dock's other inventory has it too."),
        ),
        *(
            migrations.AddField(
                model_name='unlocklicense',
                name=name,
                field=models.FloatField(editable=False, null=True),
            )
            for name in ('west', 'south', 'east', 'north')
        ),
    ]
