"""Migrations run while bridge, web and worker of the version before are at work."""

import os
from contextlib import closing

import pytest
from django.db.migrations.loader import MigrationLoader
from django_migration_linter import MigrationLinter

from tests.stack import PostgresDatabase, manage, run_server

APPS = ("organizations", "devices", "licenses", "mqtt_bridge")
# What a database consists of, without the order of columns.
SCHEMA = """
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'public'
UNION SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
UNION SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '' FROM pg_constraint
UNION SELECT '', collname, collprovider::text, '', '' FROM pg_collation
"""
ONE_BY_ONE = """
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
executor = MigrationExecutor(connection)
executor.loader.replace_migrations = False
executor.loader.build_graph()
graph = executor.loader.graph
executor.migrate([key for key in graph.leaf_nodes() if not graph.nodes[key].replaces])
"""


@pytest.mark.django_db(transaction=True)  # an index that locks nobody out is made outside of one
def test_the_version_before_can_work_during_and_after_each_migration():
    """No column goes away, none is added that old code must fill, and no index locks a table that is in use."""
    linter = MigrationLinter(no_cache=True)
    migrations = MigrationLoader(None).disk_migrations
    # Those that were squashed were looked at before, and do not change.
    replaced = {name for migration in migrations.values() for name in migration.replaces}
    checked = sorted(key for key in migrations if key[0] in APPS and key not in replaced)
    for key in checked:
        linter.lint_migration(migrations[key])
    assert linter.nb_valid == len(checked)


@pytest.mark.turns(8)
def test_a_new_database_is_like_one_that_went_through_every_migration(migrated, tmp_path):
    old, new = PostgresDatabase(run_server(), tmp_path), migrated("postgresql")
    manage("shell", "-v0", "-c", ONE_BY_ONE, env=os.environ | {"DATABASE_URL": old.url})
    with closing(old), closing(new):
        assert set(old.rows(SCHEMA)) == set(new.rows(SCHEMA))
