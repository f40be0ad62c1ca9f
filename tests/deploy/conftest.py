"""What the tests of a running deployment share."""

import pytest

from tests.deploy.engine import dump_of


@pytest.fixture(scope="module")
def tables(migrated, tmp_path_factory):
    """A dump of a database with all tables and nothing in them."""
    return dump_of(migrated("postgresql").url, tmp_path_factory.mktemp("tables") / "tables.dump")
