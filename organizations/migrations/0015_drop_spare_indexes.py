"""Indexes that cost every bind time: another begins with the same column, or most rows have nothing in it."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from mqtt_bridge.database.live_migrations import AddIndexLive, drop_column_index


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("organizations", "0014_index_audit_search")]

    operations = [
        AddIndexLive(
            "auditevent",
            models.Index(fields=["user"], condition=models.Q(user__isnull=False), name="audit_event_user"),
        ),
        AddIndexLive(
            "auditevent",
            models.Index(fields=["api_key"], condition=models.Q(api_key__isnull=False), name="audit_event_api_key"),
        ),
        migrations.SeparateDatabaseAndState(
            [drop_column_index("organizations_auditevent", column) for column in ("organization_id", "user_id", "api_key_id")],
            [
                migrations.AlterField(
                    "auditevent",
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
                migrations.AlterField(
                    "auditevent",
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                migrations.AlterField(
                    "auditevent",
                    "api_key",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="organizations.organizationapikey",
                        verbose_name="API key",
                    ),
                ),
            ],
        ),
    ]
