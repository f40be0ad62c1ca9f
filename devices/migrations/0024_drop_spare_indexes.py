"""Indexes that cost each change of a call time and serve no query: another one begins with the same column."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

# Django's own, of foreign keys, and for texts that begin with something (`_like`).
SPARE = (
    ("servicecall", "device_id", ""),
    ("servicecall", "organization_id", ""),
    ("servicecall", "tid", "_like"),
    ("servicecall", "bid", "_like"),
    ("servicecallevent", "call_id", ""),
)


def drop(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Drop them without locking anybody out. On SQLite they stay, until Django makes the table anew."""
    if schema_editor.connection.vendor != "postgresql":
        return
    for model_name, column, kind in SPARE:
        table = apps.get_model("devices", model_name)._meta.db_table
        name = schema_editor._create_index_name(table, [column], suffix=kind)
        schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {schema_editor.quote_name(name)}")


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("devices", "0023_index_lists")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(drop, migrations.RunPython.noop)],
            [
                migrations.AlterField(
                    "servicecall",
                    "device",
                    models.ForeignKey(
                        db_index=False,
                        help_text="The gateway asked.",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="service_calls",
                        to="devices.device",
                    ),
                ),
                migrations.AlterField(
                    "servicecall",
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        help_text="Whose device it was then.",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="service_calls",
                        to="organizations.organization",
                    ),
                ),
                migrations.AlterField(
                    "servicecallevent",
                    "call",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="devices.servicecall",
                    ),
                ),
            ],
        ),
    ]
