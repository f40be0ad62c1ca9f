"""Fixtures of the fault tests: a fresh stack for each."""

import pytest

from tests.stack import running_stack


@pytest.fixture
def new_stack(prepared, tmp_path):
    """new_stack("sqlite", broker=...) is a context with a running stack of its own."""

    def make(kind, **options):
        processes = {"CONTROL_PROCESS": str(kind == "postgresql")}  # as in production
        return running_stack(kind, tmp_path, template=prepared(kind), **processes | options)

    return make


@pytest.fixture(params=["postgresql", "sqlite"])
def stack(request, new_stack):
    with new_stack(request.param) as running:
        yield running


@pytest.fixture
def postgres_stack(new_stack):
    with new_stack("postgresql") as running:
        yield running
