"""What all tests share."""

import fcntl
from functools import cache

import pytest

from tests.stack import DATABASES, running_stack

pytest_plugins = ["tests.cast", "tests.api"]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """prepared("sqlite") is a database with tables and organizations that stacks may be copied from.

    It is made once a run, by whichever worker wants it first.
    """
    own = tmp_path_factory.getbasetemp()
    common = own.parent if own.name.startswith("popen-") else own

    @cache
    def prepare(kind):
        folder = common / f"prepared-{kind}"
        folder.mkdir(exist_ok=True)
        url = folder / "url"
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not url.exists():
                with running_stack(kind, folder) as stack:
                    url.write_text(stack.database.url)
        return DATABASES[kind].at(url.read_text())

    return prepare
