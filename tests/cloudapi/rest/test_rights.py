"""Every operation of the OpenAPI document: which roles may use it, and that other organizations get 404."""

import json
from datetime import UTC, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from rest_framework.test import APIClient

from cloudapi.rest.views import document
from devices.models import BrokerAccount, Device, ServiceCall, ServiceCallBatch
from licenses.models import LicenseFile, UnlockLicense
from organizations.models import BindingCode, FileJob, Role
from tests.api import client_of, make_key
from tests.shared_world import *  # noqa: F403  (fixtures, in place of the cast's)

pytestmark = pytest.mark.usefixtures("world")

LIST = {"device_model_domain": 3}
STAFFS = {("post", "organizations/"), ("post", "devices/{sn}/transfer/")}
OPERATIONS = [
    (method, path)
    for path, methods in json.loads(document())["paths"].items()
    for method in methods
    if method in ("get", "post", "patch", "delete", "put")
]
# What a viewer, an operator and a manager get for a request that is right. A file by another name for one that is there
# already is 200, a dock that is offline 409, a call that has ended 409: who got so far was allowed to.
TABLE = {
    ("get", "organizations/"): (200, 200, 200),
    ("post", "organizations/"): (403, 403, 403),  # platform staff's alone
    ("get", "organizations/{organization_id}/"): (200, 200, 200),
    ("patch", "organizations/{organization_id}/"): (403, 403, 200),
    ("get", "binding-codes/"): (200, 200, 200),
    ("post", "binding-codes/"): (403, 403, 201),
    ("get", "binding-codes/{id}/"): (200, 200, 200),
    ("patch", "binding-codes/{id}/"): (403, 403, 200),
    ("post", "binding-codes/{id}/revoke/"): (403, 403, 200),
    ("get", "devices/"): (200, 200, 200),
    ("get", "devices/{sn}/"): (200, 200, 200),
    ("patch", "devices/{sn}/"): (403, 200, 200),
    ("post", "devices/{sn}/release/"): (403, 403, 200),
    ("get", "devices/{sn}/licenses/"): (200, 200, 200),
    ("get", "devices/{sn}/exchanges/"): (200, 200, 200),
    ("get", "devices/{sn}/events/"): (200, 200, 200),
    ("post", "devices/{sn}/trace/"): (403, 200, 200),
    ("post", "devices/{sn}/transfer/"): (403, 403, 403),  # platform staff's alone
    ("get", "broker-accounts/"): (403, 403, 200),
    ("post", "broker-accounts/"): (403, 403, 201),
    ("post", "broker-accounts/import/"): (403, 403, 200),
    ("get", "broker-accounts/{username}/"): (403, 403, 200),
    ("post", "broker-accounts/{username}/rotate/"): (403, 403, 201),
    ("post", "broker-accounts/{username}/revoke/"): (403, 403, 200),
    ("get", "file-jobs/"): (200, 200, 200),
    ("post", "file-jobs/"): (201, 201, 201),
    ("get", "file-jobs/{id}/"): (200, 200, 200),
    ("post", "file-jobs/{id}/cancel/"): (403, 403, 200),
    ("get", "file-jobs/{id}/file/"): (409, 409, 409),  # it is not finished
    ("get", "licenses/"): (200, 200, 200),
    ("get", "licenses/{id}/"): (200, 200, 200),
    ("patch", "licenses/{id}/"): (403, 200, 200),
    ("get", "license-files/"): (200, 200, 200),
    ("post", "license-files/"): (403, 201, 201),
    ("get", "license-files/{id}/"): (200, 200, 200),
    ("delete", "license-files/{id}/"): (403, 403, 204),
    ("get", "license-files/{id}/download/"): (200, 200, 200),
    ("get", "service-calls/"): (200, 200, 200),
    ("post", "service-calls/"): (403, 201, 201),
    ("get", "service-calls/{id}/"): (200, 200, 200),
    ("post", "service-calls/{id}/cancel/"): (403, 409, 409),
    ("post", "service-calls/{id}/retry/"): (403, 201, 201),
    ("get", "service-call-batches/"): (200, 200, 200),
    ("post", "service-call-batches/"): (403, 201, 201),
    ("post", "service-call-batches/by-time-zone/"): (403, 201, 201),
    ("get", "service-call-batches/{id}/"): (200, 200, 200),
    ("post", "service-call-batches/{id}/stop/"): (403, 200, 200),
}


@pytest.fixture(autouse=True)
def _commands_are_sent(settings):
    settings.COMMANDS_AVAILABLE = True
    settings.CELERY_BROKER_URL = "memory://"


def key_of(organization, role):
    return client_of(make_key(organization, role))


def rows_of(organization):
    """The value of each path parameter, by its path, that names a row of this organization."""
    return {
        "organizations": organization.organization_id,
        "binding-codes": BindingCode.objects.get(organization=organization).pk,
        "devices": Device.objects.get(organization=organization).sn,
        "broker-accounts": BrokerAccount.objects.get(device__organization=organization).username,
        "file-jobs": FileJob.objects.get(organization=organization).pk,
        "licenses": UnlockLicense.objects.get(device__organization=organization).pk,
        "license-files": LicenseFile.objects.get(organization=organization).pk,
        "service-calls": ServiceCall.objects.get(organization=organization).pk,
        "service-call-batches": ServiceCallBatch.objects.get(organization=organization).pk,
    }


def send(client, method, path, organization):
    """A request that is right, about rows of this organization."""
    rows = rows_of(organization)
    own = organization.organization_id
    bodies = {
        "organizations/": {"name": "New"},
        "organizations/{organization_id}/": {"name": "Other"},
        "binding-codes/": {"organization": own, "label": "New"},
        "binding-codes/{id}/": {"label": "Other"},
        "devices/{sn}/": {"callsign": "Other"},
        "devices/{sn}/trace/": {"minutes": 10},
        "devices/{sn}/transfer/": {"organization": own},
        "broker-accounts/": {"organization": own},
        "broker-accounts/import/": {"devices": [rows["devices"]]},
        "file-jobs/": {"kind": "export", "table": "devices", "organization": own},
        "licenses/{id}/": {"note": "Other"},
        "service-calls/": {"device": rows["devices"], "method": "unlock_license_list", "data": LIST, "queue": True},
        "service-calls/{id}/retry/": {},
        "service-call-batches/": {"devices": [rows["devices"]], "method": "unlock_license_list", "data": LIST},
    }
    tomorrow = timezone.localtime(timezone=UTC) + timedelta(days=1)
    bodies["service-call-batches/by-time-zone/"] = {
        **bodies["service-call-batches/"],
        "due_local": f"{tomorrow:%Y-%m-%dT%H:%M}",
    }
    name = path.split("/")[0]
    address = "/api/v1/" + path.replace("{" + path.partition("{")[2].partition("}")[0] + "}", str(rows[name]))
    if method == "post" and path == "license-files/":
        upload = SimpleUploadedFile("new.kmz", b"new")
        return client.post(address, {"organization": own, "file": upload}, format="multipart")
    return getattr(client, method)(address, bodies.get(path, {}) if method != "get" else None)


def short(path):
    return path.removeprefix("/api/v1/")


def test_the_table_names_every_operation():
    assert {(method, short(path)) for method, path in OPERATIONS} == set(TABLE)


@pytest.mark.parametrize(("method", "path"), sorted(TABLE))
@pytest.mark.parametrize(("place", "role"), [(0, Role.VIEWER), (1, Role.OPERATOR), (2, Role.MANAGER)])
def test_a_role_may_do_what_the_table_says(organization, method, path, place, role):
    if path == "service-calls/{id}/retry/":
        Device.objects.get(organization=organization).state.delete()  # never seen: it may be there
        ServiceCall.objects.update(queue=True)
    response = send(key_of(organization, role), method, path, organization)
    assert response.status_code == TABLE[method, path][place], response.content


@pytest.mark.parametrize(("method", "path"), sorted(TABLE))
def test_nobody_may_do_anything(organization, method, path):
    response = send(APIClient(), method, path, organization)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Api-Key"


@pytest.mark.parametrize(("method", "path"), sorted(TABLE))
def test_the_key_of_another_organization_finds_nothing(organization, other_organization, method, path):
    manager = key_of(other_organization, Role.MANAGER)
    response = send(manager, method, path, organization)
    if method == "get" and "{" not in path:
        own = send(manager, method, path, other_organization).json()
        assert response.json() == own
        assert "HARBOUR" not in response.content.decode()
        assert organization.organization_id not in response.content.decode()
    else:
        assert response.status_code == (403 if (method, path) in STAFFS else 404), response.content
        assert "HARBOUR" not in response.content.decode()
