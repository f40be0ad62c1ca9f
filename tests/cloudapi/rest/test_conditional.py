"""Tags of rows, on the routes of devices and of license files."""

from django.utils import timezone

from devices.models import Device, DeviceState

ROUTE = "/api/v1/devices/"


def test_what_has_not_changed_is_not_sent_again(api, viewer_key, dock):
    client = api(viewer_key)
    tag = client.get(f"{ROUTE}{dock.sn}/")["ETag"]
    same = client.get(f"{ROUTE}{dock.sn}/", headers={"If-None-Match": tag})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", tag)
    Device.objects.update(callsign="Pier 8")
    assert client.get(f"{ROUTE}{dock.sn}/", headers={"If-None-Match": tag}).status_code == 200


def test_what_changes_by_itself_does_not_keep_a_client_from_a_change(api, operator_key, dock):
    client = api(operator_key)
    DeviceState.objects.update_or_create(device=dock, defaults={"last_seen": timezone.now(), "mode_code": 0})
    tag = client.get(f"{ROUTE}{dock.sn}/", {"include": "state"})["ETag"]
    DeviceState.objects.update(last_seen=timezone.now(), mode_code=4, online=True, firmware_version="10.02")
    assert client.get(f"{ROUTE}{dock.sn}/", {"include": "state"}, headers={"If-None-Match": tag}).status_code == 200
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "Pier 8"}, headers={"If-Match": tag}).status_code == 200
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "Pier 9"}, headers={"If-Match": tag}).status_code == 412


def test_a_tag_serves_a_change_whatever_was_included(api, operator_key, dock):
    client = api(operator_key)
    for included in ("", "account", "state,carried,properties"):
        tag = client.get(f"{ROUTE}{dock.sn}/", {"include": included})["ETag"]
        body = {"callsign": f"Pier {included}"}
        assert client.patch(f"{ROUTE}{dock.sn}/", body, headers={"If-Match": tag}).status_code == 200


def test_one_of_several_tags_is_enough_and_a_weak_one_changes_nothing(api, operator_key, dock):
    client = api(operator_key)
    tag = client.get(f"{ROUTE}{dock.sn}/")["ETag"]
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "A"}, headers={"If-Match": f"W/{tag}"}).status_code == 412
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "A"}, headers={"If-Match": f'"x", {tag}'}).status_code == 200
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "B"}, headers={"If-Match": "*"}).status_code == 200
    assert client.patch(f"{ROUTE}{dock.sn}/", {"callsign": "C"}, headers={"If-Match": "no tag"}).status_code == 412


def test_what_a_read_must_match_is_not_asked(api, viewer_key, dock):
    assert api(viewer_key).get(f"{ROUTE}{dock.sn}/", headers={"If-Match": '"other"'}).status_code == 200
