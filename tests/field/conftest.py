"""What docks in the field send, over a real broker, against a bridge and a web process.

Both run once for each worker and database, to the end of the run. Each test makes up its own serial numbers, so that
tests do not meet.
"""

from contextlib import ExitStack, closing
from functools import cache

import pytest

from tests.field.world import World
from tests.stack import running_stack


@pytest.fixture(scope="session")
def worlds(prepared, tmp_path_factory):
    """worlds("sqlite") is the one on this database."""
    # All tests ask as one person, and on a busy machine a dock that answers at once seems silent for long.
    limits = {"API_REQUESTS_PER_MINUTE": "0", "SERVICE_SILENCE": "600"}
    with ExitStack() as running:

        @cache
        def start(kind):
            folder = tmp_path_factory.mktemp(f"field-{kind}")
            stack = running.enter_context(running_stack(kind, folder, template=prepared(kind), **limits))
            stack.start_bridge()
            return running.enter_context(closing(World(stack)))

        yield start


@pytest.fixture(params=["postgresql", "sqlite"])
def world(request, worlds):
    """Two organizations, a broker, a bridge, the admin and REST. No simulator: a test sends what a dock sends."""
    return worlds(request.param)
