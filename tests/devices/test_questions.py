"""The DJI license that a dock asks for."""

import msgspec
import pytest
from django.db import connection

from devices.models import Device
from devices.questions import configurations

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def platform_license(settings):
    settings.DJI_APP_ID, settings.DJI_APP_KEY, settings.DJI_APP_LICENSE = "1001", "platform key", "platform license"


def test_unknown_gateway_gets_the_platform_license():
    [answer] = configurations(["STRANGER"])
    assert (answer.reply.app_id, answer.reply.app_key, answer.reply.app_license) == (
        "1001",
        "platform key",
        "platform license",
    )


def test_organization_with_its_own_license_gives_that(dock, organization):
    organization.app_id, organization.app_key, organization.app_license = "2002", "own key", "own license"
    organization.save()
    [answer] = configurations([dock.sn])
    assert (answer.reply.app_id, answer.reply.app_key) == ("2002", "own key")


def test_disabled_device_gets_none(dock):
    Device.objects.update(is_enabled=False)
    [answer] = configurations([dock.sn])
    assert answer.reply is None


def test_without_any_license_there_is_a_reason(settings):
    settings.DJI_APP_LICENSE = ""
    [answer] = configurations(["STRANGER"])
    assert (answer.reply, answer.reason) == (None, "no DJI license configured")


def test_key_and_license_are_encrypted_in_the_database(organization):
    organization.app_id, organization.app_key, organization.app_license = "2002", "own key", "own license"
    organization.save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT app_key, app_license FROM organizations_organization")
        assert not {"own key", "own license"} & set(cursor.fetchone())
    organization.refresh_from_db()
    assert organization.app_key == "own key"


def test_result_can_be_left_out_for_a_firmware_that_objects(settings):
    settings.CONFIG_REPLY_RESULT = False
    [answer] = configurations(["STRANGER"])
    assert b'"result"' not in msgspec.json.encode(answer.reply)


def test_gateway_that_another_dock_claimed_gets_the_platform_license(dock, organization):
    organization.app_id, organization.app_key, organization.app_license = "2002", "own key", "own license"
    organization.save()
    Device.objects.create(sn="VICTIM", model_key="0-91-0", organization=organization, gateway=dock)
    [answer] = configurations(["VICTIM"])
    assert answer.reply.app_id == "1001"
