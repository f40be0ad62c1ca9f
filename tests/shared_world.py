"""The world of `tests/world.py`, made once for a module whose tests only read it.

Such a module imports all these fixtures, in place of the cast's.
"""

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction

from organizations.models import Organization, Role
from tests.cast import member
from tests.world import furnish_both

__all__ = ["alice", "bob", "charlie", "created", "organization", "other_organization", "world"]


@pytest.fixture(scope="module")
def created(django_db_setup, django_db_blocker):
    """Two organizations with their people and rows; what a test changes is undone after it."""
    with django_db_blocker.unblock(), transaction.atomic():
        harbour = Organization.objects.create(organization_id="12345678", name="Harbour Survey")
        northern = Organization.objects.create(organization_id="87654321", name="Northern Grid")
        member("bob", harbour, Role.VIEWER)
        alice, charlie = member("alice", harbour, Role.MANAGER), member("charlie", northern, Role.MANAGER)
        furnish_both(harbour, alice, northern, charlie)
        yield
        transaction.set_rollback(True)


@pytest.fixture
def world(created, db):
    """The test's own transaction in it."""


@pytest.fixture
def organization(world):
    return Organization.objects.get(organization_id="12345678")


@pytest.fixture
def other_organization(world):
    return Organization.objects.get(organization_id="87654321")


@pytest.fixture
def alice(world):
    return get_user_model().objects.get(username="alice")


@pytest.fixture
def bob(world):
    return get_user_model().objects.get(username="bob")


@pytest.fixture
def charlie(world):
    return get_user_model().objects.get(username="charlie")
