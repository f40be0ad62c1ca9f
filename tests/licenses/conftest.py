"""A license file of Alice's organization, and who may do what with it."""

import hashlib
import os

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from devices.models import ServiceCall
from licenses import files
from organizations import audit
from organizations.models import AuditEvent, Role
from tests.cast import member

CONTENT = b"PK\x03\x04" + os.urandom(3000) + b"\r\n\0\xff"
MD5 = hashlib.md5(CONTENT).hexdigest()  # noqa: S324


@pytest.fixture
def olga(organization):
    """An operator of Alice's organization."""
    return member("olga", organization, Role.OPERATOR)


@pytest.fixture
def actor(alice):
    return audit.Actor(AuditEvent.Through.COMMAND, user=alice)


@pytest.fixture
def keep(organization, actor):
    """Store these bytes under a name: `keep(CONTENT, "a.kmz")`."""

    def keep(content=CONTENT, name="approved.kmz", owner=organization):
        return files.store(organization=owner, upload=SimpleUploadedFile(name, content), actor=actor)

    return keep


@pytest.fixture
def file(keep):
    return keep()


@pytest.fixture
def make_call(dock):
    """A service call to the dock with this data, as stored."""

    def make_call(data, **fields):
        fields = {"organization": dock.organization, "method": "unlock_license_update", **fields}
        return ServiceCall.objects.create(device=dock, data=data, **fields)

    return make_call
