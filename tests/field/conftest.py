"""What docks in the field send, over a real broker, against a bridge and a web process.

Both run once for each worker and database. Each test makes up its own serial numbers, so that tests do not meet.
"""

import pytest

from tests.field.world import World
from tests.stack import running_stack


@pytest.fixture(scope="session", params=["postgresql", "sqlite"])
def world(request, prepared, tmp_path_factory):
    """Two organizations, a broker, a bridge, the admin and REST. No simulator: a test sends what a dock sends."""
    folder = tmp_path_factory.mktemp(f"field-{request.param}")
    # All tests ask as one person, and on a busy machine a dock that answers at once seems silent for long.
    limits = {"API_REQUESTS_PER_MINUTE": "0", "SERVICE_SILENCE": "600"}
    with running_stack(request.param, folder, template=prepared(request.param), **limits) as stack:
        stack.start_bridge()
        world = World(stack)
        try:
            yield world
        finally:
            world.close()
