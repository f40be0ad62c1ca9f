"""REST clients for the tests: a user's session, or an API key of either organization in each role."""

import pytest
from django.contrib.auth.models import AbstractBaseUser
from rest_framework.test import APIClient

from organizations import api_keys, audit
from organizations.models import AuditEvent, OrganizationAPIKey, Role


def make_key(organization, role=Role.MANAGER, name="integrator", **fields):
    """Issue a key; its row knows its plain text as `plain`."""
    actor = audit.Actor(AuditEvent.Through.COMMAND)
    row, plain = api_keys.issue(actor=actor, organization=organization, name=name, role=role, **fields)
    AuditEvent.objects.filter(object_type=row._meta.label, object_id=row.pk).delete()  # tests look at what comes then
    row.plain = plain
    return row


def client_of(principal=None, **options):
    """A client that sends as a user (by session) or a key (by header); None: as nobody."""
    client = APIClient(**options)
    if isinstance(principal, OrganizationAPIKey):
        client.credentials(HTTP_AUTHORIZATION=f"Api-Key {principal.plain}")
    elif isinstance(principal, AbstractBaseUser):
        client.force_login(principal)
    return client


@pytest.fixture
def api(request):
    """A client for a user, a key, or the name of a fixture: `api(alice)`, `api("viewer_key")`."""

    def api(principal=None, **options):
        found = request.getfixturevalue(principal) if isinstance(principal, str) else principal
        return client_of(found, **options)

    return api


@pytest.fixture
def manager_key(organization):
    return make_key(organization, Role.MANAGER, "manager key")


@pytest.fixture
def operator_key(organization):
    return make_key(organization, Role.OPERATOR, "operator key")


@pytest.fixture
def viewer_key(organization):
    return make_key(organization, Role.VIEWER, "viewer key")


@pytest.fixture
def stranger_key(other_organization):
    """A manager's key of the other organization."""
    return make_key(other_organization, Role.MANAGER, "stranger key")


@pytest.fixture
def stranger_operator_key(other_organization):
    return make_key(other_organization, Role.OPERATOR, "stranger operator key")


@pytest.fixture
def stranger_viewer_key(other_organization):
    return make_key(other_organization, Role.VIEWER, "stranger viewer key")
