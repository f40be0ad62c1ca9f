"""What the tests of the bridge share."""

import environ
import pytest
from django.db import connections
from django.db.utils import load_backend

from tests.stack import DATABASES


@pytest.fixture(params=["postgresql", "sqlite"])
def each_database(request, db, django_db_blocker, migrated, tmp_path):
    """The default connection of this process, once to PostgreSQL, in a transaction, and once to a file of SQLite."""
    if request.param == "postgresql":
        yield
        return
    url = DATABASES["sqlite"](None, tmp_path, migrated("sqlite")).url
    before = connections["default"]
    settings = {**before.settings_dict, **environ.Env.db_url_config(url), "OPTIONS": {}}
    with django_db_blocker.unblock():
        connections["default"] = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, "default")
        try:
            yield
        finally:
            connections["default"].close()
            connections["default"] = before
