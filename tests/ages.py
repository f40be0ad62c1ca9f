"""Rows that last changed long ago, and whether they changed since."""

from datetime import UTC, datetime

LONG_AGO = datetime(2024, 5, 1, tzinfo=UTC)


def age(*rows):
    """Let these rows, and what is in memory of them, have changed long ago."""
    for row in rows:
        type(row).objects.filter(pk=row.pk).update(updated=LONG_AGO)
        row.updated = LONG_AGO


def moved(row):
    """Whether the stored row says that it changed since `age`."""
    return type(row).objects.values_list("updated", flat=True).get(pk=row.pk) != LONG_AGO
