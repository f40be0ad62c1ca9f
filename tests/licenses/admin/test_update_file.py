"""Updating a dock from a file on its own page."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from devices.calls import methods
from devices.models import DeviceState, ServiceCall
from licenses.models import LicenseFile
from organizations.models import AuditEvent
from tests.licenses.admin.test_licenses import _bridge  # noqa: F401
from tests.licenses.conftest import CONTENT

pytestmark = pytest.mark.django_db


def update(client, user, dock, content=CONTENT, **fields):
    client.force_login(user)
    upload = {"upload": SimpleUploadedFile("approved.kmz", content)} if content is not None else {}
    address = reverse("admin:licenses_unlocklicense_update_file", args=[dock.pk])
    return client.post(address, upload | fields, follow=True)


def test_one_form_on_the_page_of_the_dock_stores_the_file_and_asks_the_dock(client, olga, dock):
    client.force_login(olga)
    address = reverse("admin:licenses_unlocklicense_update_file", args=[dock.pk])
    assert address in client.get(reverse("admin:devices_device_change", args=[dock.pk])).content.decode()
    response = update(client, olga, dock)
    assert [str(one) for one in response.context["messages"]] == [
        "The file approved.kmz is stored, and the dock is asked to import it."
    ]
    file, call = LicenseFile.objects.get(), ServiceCall.objects.get()
    assert (call.device, call.method, call.data) == (dock, methods.UPDATE, {"license_file": file.pk})
    trail = AuditEvent.objects.filter(action__in=("upload", "command"))
    assert (trail.count(), trail.values("request_id").distinct().count()) == (2, 1)
    update(client, olga, dock)
    assert LicenseFile.objects.count() == 1


@pytest.mark.parametrize(
    ("queue", "words"),
    [({}, "the dock is not asked to import it: This dock is offline."), ({"queue": "1"}, "is asked to")],
)
def test_an_offline_dock_gets_it_later_if_ticked(client, olga, dock, queue, words):
    DeviceState.objects.filter(device=dock).update(online=False)
    assert words in update(client, olga, dock, **queue).content.decode()
    assert (LicenseFile.objects.count(), ServiceCall.objects.count()) == (1, len(queue))


@pytest.mark.parametrize(("content", "words"), [(None, "Choose a file."), (b"", "file is empty")])
def test_what_is_no_file_is_refused(client, olga, dock, content, words):
    assert words in update(client, olga, dock, content).content.decode()
    assert not ServiceCall.objects.exists()
    assert not LicenseFile.objects.exists()


@pytest.mark.parametrize(("who", "status"), [("bob", 403), ("charlie", 404)])
def test_others_store_and_ask_nothing(request, client, dock, who, status):
    user = request.getfixturevalue(who)
    assert update(client, user, dock).status_code == status
    assert not LicenseFile.objects.exists()
    if who == "bob":
        page = client.get(reverse("admin:devices_device_change", args=[dock.pk])).content.decode()
        assert "update-file" not in page
