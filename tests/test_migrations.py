"""Migrations run while bridge, web and worker of the version before are at work."""

import pytest
from django.db.migrations.loader import MigrationLoader
from django_migration_linter import MigrationLinter

APPS = ("organizations", "devices", "licenses", "mqtt_bridge")
# Written before the first release: no server of a version before was at work.
BEFORE_THE_FIRST_RELEASE = {
    ("devices", "0002_service_calls"),
    ("devices", "0004_api_keys"),
    ("devices", "0005_updated"),
    ("devices", "0011_refused_messages"),
    ("devices", "0014_claim"),
    ("licenses", "0003_catalog"),
    ("licenses", "0005_updated"),
    ("licenses", "0008_api_keys"),
    ("organizations", "0004_updated"),
}


@pytest.mark.django_db(transaction=True)  # an index that locks nobody out is made outside of one
def test_the_version_before_can_work_during_and_after_each_migration():
    """No column goes away, none is added that old code must fill, and no index locks a table that is in use."""
    linter = MigrationLinter(no_cache=True)
    migrations = MigrationLoader(None).disk_migrations
    checked = sorted(key for key in migrations if key[0] in APPS and key not in BEFORE_THE_FIRST_RELEASE)
    for key in checked:
        linter.lint_migration(migrations[key])
    assert linter.nb_valid == len(checked)
