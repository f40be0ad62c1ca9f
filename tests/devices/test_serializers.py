"""The JSON that REST and WebSocket share."""

import json

import pytest
from django.utils import timezone

from devices.models import Device, DeviceAccount, ServiceCall, ServiceCallSecret
from devices.presence import Watch
from devices.serializers import DeviceAccountSerializer, DeviceSerializer, ServiceCallSerializer
from tests.devices.calls.cases import make_call

pytestmark = pytest.mark.django_db
CANARY = "canary-password"


@pytest.fixture
def watched():
    return {"watch": Watch(timezone.now(), bridge_alive=True)}


def test_a_device_is_told_with_its_presence(dock, watched):
    told = DeviceSerializer(dock, context=watched).data
    assert told == {
        "sn": "DOCK0001",
        "callsign": "Pier 7",
        "model_key": "3-2-0",
        "model_name": "DJI Dock 2",
        "organization": "12345678",
        "is_enabled": True,
        "presence": "online",
        "last_seen": told["last_seen"],
        "firmware_version": "",
        "gateway": None,
        "site": "",
        "time_zone": "UTC",
        "bound_at": told["bound_at"],
        "retired_at": None,
        "created": told["created"],
        "updated": told["updated"],
    }
    assert told["last_seen"].endswith("Z")


def test_a_device_that_never_spoke_and_belongs_to_nobody_is_told_too(db, watched):
    told = DeviceSerializer(Device.objects.create(sn="STRANGER"), context=watched).data
    assert (told["organization"], told["presence"], told["last_seen"]) == (None, "never", None)


def test_nobody_is_online_while_nobody_listens(dock):
    context = {"watch": Watch(timezone.now(), bridge_alive=False)}
    assert DeviceSerializer(dock, context=context).data["presence"] == "unknown"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://dji.com", "data:text/html,x", " https://x", ""])
def test_only_https_may_be_clicked(dock, url):
    account = DeviceAccount(device=dock, username="pilot", verification_code_url=url)
    assert DeviceAccountSerializer(account).data["verification_code_url"] == ""


def test_an_account_is_told(dock):
    account = DeviceAccount(device=dock, username="pilot", status="failed", verification_code_url="https://dji.com/x")
    told = {"username": "pilot", "status": "failed", "verification_code_url": "https://dji.com/x"}
    told["verification_code_url_trusted"] = True
    assert DeviceAccountSerializer(account).data == told


def test_a_call_is_told_with_words_for_people(dock, alice):
    told = ServiceCallSerializer(make_call(dock, status="in_progress", percent=40, requested_by=alice)).data
    assert (told["device"], told["organization"], told["requested_by"]) == ("DOCK0001", "12345678", "alice")
    assert (told["label"], told["text"], told["is_open"]) == ("Read licenses", "The dock works on it: 40 %.", True)
    assert (told["batch"], told["retry_of"], told["version"]) == (None, None, 1)


def test_a_call_of_an_unknown_method_is_told_by_its_name(dock):
    assert ServiceCallSerializer(make_call(dock, method="fly_to_the_moon")).data["label"] == "fly_to_the_moon"


def test_no_secret_is_told(dock):
    call = make_call(dock, method="login_dji_account", data={"username": "pilot", "password": "***"})
    ServiceCallSecret.objects.create(call=call, sealed=CANARY, expires=timezone.now())
    told = ServiceCallSerializer(ServiceCall.objects.get()).data
    assert CANARY not in json.dumps(told)
    assert not {"secret", "tid", "bid", "idempotency_key"} & set(told)


def test_any_number_is_told_with_the_named_relations(dock, alice, watched, django_assert_num_queries):
    for _ in range(5):
        make_call(dock, requested_by=alice)
        Device.objects.create(sn=f"D{Device.objects.count()}", organization=dock.organization)
    with django_assert_num_queries(1):
        rows = ServiceCall.objects.select_related(*ServiceCallSerializer.related)
        assert len(ServiceCallSerializer(rows, many=True).data) == 5
    with django_assert_num_queries(1):
        rows = Device.objects.select_related(*DeviceSerializer.related)
        assert len(DeviceSerializer(rows, many=True, context=watched).data) == 6


def test_a_callsign_that_is_the_serial_number_is_not_said_twice(dock):
    dock.callsign = dock.sn
    assert str(dock) == dock.sn
    dock.callsign = "Pier 7"
    assert str(dock) == f"Pier 7 ({dock.sn})"
