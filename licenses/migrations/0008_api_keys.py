import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('licenses', '0007_index_updated'),
        ('organizations', '0003_api_keys'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='licensefile',
            name='uploaded_with',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organizationapikey'),
        ),
        migrations.AddField(
            model_name='licensefiledownload',
            name='api_key',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='organizations.organizationapikey'),
        ),
        migrations.AlterField(
            model_name='licensefiledownload',
            name='user',
            field=models.ForeignKey(help_text='A person; none and no key is a dock.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
    ]
