"""The license list as a map and as GeoJSON: who sees what, with which filters, in which language."""

import json
import os
import subprocess
from datetime import UTC, datetime
from itertools import product
from urllib.parse import urlsplit

import pytest
from django.urls import reverse
from django.utils import formats, timezone, translation

from cloudapi.embedded.programs import find
from devices.models import Device, DeviceState
from devices.templatetags import moments
from licenses import geography
from licenses.admin import map as map_pages
from licenses.models import Inventory, UnlockLicense
from organizations import time_zones
from tests.devices.calls.test_service_calls import LIST, issue
from tests.devices.calls.test_service_calls import claim as claim_call
from tests.fork_server import Program
from tests.licenses.lists import SAMPLES, SEVEN, license_, store
from tests.stack import wait_for
from tests.web import database_url

pytestmark = pytest.mark.django_db
GEOJSON = "/admin/licenses/unlocklicense/geojson/"
MAP = "/admin/licenses/unlocklicense/map/"
PUBLISHED = SAMPLES / "001_unlock_license_list_services_reply.json"


@pytest.fixture
def ask(client):
    """ask(user, query) returns the collection that this user gets."""

    def ask(user, query="", **headers):
        client.force_login(user)
        response = client.get(GEOJSON + query, headers=headers)
        assert response.status_code == 200, response.content
        assert response["Content-Type"] == "application/geo+json"
        return json.loads(response.content)

    return ask


@pytest.fixture
def foreign(other_organization):
    """A dock of Charlie's organization with a license."""
    dock = Device.objects.create(sn="NORTH", model_key="3-2-0", organization=other_organization, callsign="North pier")
    DeviceState.objects.create(device=dock, latitude=60, longitude=5)
    store(dock, [license_(5, {}, 900, "northern license")])
    return dock


def licenses(told):
    return [one["properties"] for one in told["features"] if one["properties"]["kind"] == "license"]


def docks(told):
    return [one["properties"]["sn"] for one in told["features"] if one["properties"]["kind"] == "dock"]


# --- who sees what -----------------------------------------------------------------------------------


def test_everybody_sees_the_own_organization_only(ask, alice, bob, charlie, staff, dock, foreign):
    store(dock, SEVEN)
    for user, count, seen in ((alice, 7, ["DOCK0001"]), (bob, 7, ["DOCK0001"]), (charlie, 1, ["NORTH"])):
        told = ask(user)
        assert (len(licenses(told)), told["total"], docks(told)) == (count, count, seen)
    assert ask(staff)["total"] == 8


@pytest.mark.parametrize("name", ["device__sn", "device__id__exact", "device"])
def test_a_strangers_dock_is_as_if_there_were_none(ask, charlie, alice, dock, name):
    store(dock, SEVEN)
    query = f"?{name}={dock.sn if name == 'device__sn' else dock.pk}"
    assert len(licenses(ask(alice, query))) == 7
    told = ask(charlie, query)
    assert (told["features"], told["total"]) == ([], 0)


def test_the_map_of_a_strangers_dock_does_not_name_it(client, charlie, dock):
    client.force_login(charlie)
    assert "Pier 7" not in client.get(f"{MAP}?device__sn={dock.sn}").content.decode()


@pytest.mark.parametrize("address", [GEOJSON, MAP])
def test_nobody_comes_in_unsigned_or_by_post(client, alice, address):
    assert client.get(address)["Location"].startswith("/admin/login/")
    client.force_login(alice)
    assert client.post(address).status_code == 405


# --- which licenses ----------------------------------------------------------------------------------


def test_the_filters_of_the_list_count(ask, alice, dock):
    store(dock, SEVEN)
    store(dock, [license_(5, {}, 1), license_(5, {}, 2)], Inventory.DOCK)
    assert len(licenses(ask(alice, "?device_model_domain__exact=3"))) == 2
    assert [one["type"] for one in licenses(ask(alice, "?type=2"))] == [2]
    assert len(licenses(ask(alice, "?q=RID"))) == 1
    row = UnlockLicense.objects.first()
    assert len(licenses(ask(alice, f"?id__in={row.pk}"))) == 1
    assert len(licenses(ask(alice, "?p=7&e=1"))) == 9  # a page of the list is no filter


@pytest.mark.parametrize(
    "query",
    [
        "type__exact=x",
        "offset=-1",
        "limit=a",
        "offset=99999999999999999999",
        "limit=1.5",
        "grouped=x",
        "bbox=1,2,3",
        "bbox=a,b,c,d",
        "bbox=9,0,1,1",
        "bbox=nan,0,1,1",
    ],
)
def test_a_query_that_makes_no_sense_is_refused(client, alice, query):
    client.force_login(alice)
    assert client.get(f"{GEOJSON}?{query}").status_code == 400


@pytest.mark.parametrize("value", ["x", "9" * 30, "1,2"])
def test_a_dock_that_cannot_be_is_none(client, alice, value):
    client.force_login(alice)
    for name in ("device", "device__id__exact", "device__sn"):
        for address in (GEOJSON, MAP):
            assert client.get(f"{address}?{name}={value}").status_code in (200, 400)


def test_a_dock_without_licenses_is_on_its_own_map(ask, alice, dock):
    assert docks(ask(alice)) == []
    assert docks(ask(alice, f"?device__sn={dock.sn}")) == ["DOCK0001"]


def test_a_long_list_comes_in_parts(ask, alice, dock):
    store(dock, SEVEN)
    first = ask(alice, "?limit=3&device_model_domain__exact=0")
    second = ask(alice, f"?{urlsplit(first['next']).query}")
    last = ask(alice, f"?{urlsplit(second['next']).query}")
    keys = [one["license_id"] for part in (first, second, last) for one in licenses(part)]
    assert sorted(keys) == list(range(240330, 240337))
    assert (first["total"], last["next"]) == (7, None)


def test_parts_have_a_limit(ask, alice, dock, monkeypatch):
    store(dock, SEVEN)
    monkeypatch.setattr(geography, "LICENSES", 5)
    told = ask(alice, "?limit=6")
    assert (len(licenses(told)), "offset=5" in told["next"]) == (5, True)


@pytest.mark.parametrize(("box", "found"), [("113.9,22.5,113.95,22.6", 1), ("113.9,22.5,114,22.7", 2), ("0,0,9,9", 0)])
def test_a_box_has_what_lies_in_it_or_reaches_into_it(ask, alice, dock, box, found):
    store(dock, [license_(1, {"latitude": 22.55, "longitude": 113.92, "radius": 100}, 1), license_(5, {}, 2)])
    store(dock, [license_(1, {"latitude": 22.65, "longitude": 114.01, "radius": 3000}, 3)], Inventory.DOCK)
    told = ask(alice, f"?bbox={box}")
    assert (len(licenses(told)), told["total"]) == (found, found)


def test_more_licenses_than_a_part_holds_come_in_groups_if_the_caller_wants(ask, alice, dock, monkeypatch):
    monkeypatch.setattr(map_pages, "LICENSES", 3)
    places = [(10, 10), (11, 11), (12, 10), (50, 100)]
    circles = [{"latitude": latitude, "longitude": longitude, "radius": 0} for latitude, longitude in places]
    store(dock, [license_(1, circle, key) for key, circle in enumerate(circles)] + [license_(5, {}, 9)])
    told = ask(alice, "?grouped=6")
    groups = {one["properties"]["count"]: one for one in told["features"] if one["properties"]["kind"] == "group"}
    assert (set(groups), told["total"], licenses(told)) == ({3, 1}, 5, [])
    assert groups[3]["properties"]["box"] == [10, 10, 11, 12]
    west, south = groups[3]["geometry"]["coordinates"]
    assert (0 < west < 60, -30 < south < 30) == (True, True)
    assert len(licenses(ask(alice, "?grouped=6&bbox=5,5,20,20"))) == 3
    assert licenses(ask(alice)) != []


# --- the page ----------------------------------------------------------------------------------------


def test_the_page_fetches_what_the_list_shows(client, alice, dock):
    client.force_login(alice)
    text = client.get(f"{MAP}?device__sn={dock.sn}&p=3").content.decode()
    assert f'data-geojson="{GEOJSON}?device__sn={dock.sn}"' in text
    assert "License map: Pier 7" in text


def test_the_page_has_no_inline_script_or_style(client, alice, dock):
    client.force_login(alice)
    text = client.get(MAP).content.decode()
    assert "<style" not in text
    assert " style=" not in text
    assert " onclick" not in text


# --- language ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "words"),
    [
        ("zh-CN,zh;q=0.9", "国家/地区：中国，限高 500 米"),
        ("zh-TW", "国家/地区：中国，限高 500 米"),
        ("en-GB", "Country: China, up to 500 m"),
    ]
    + [(other, "Country: China, up to 500 m") for other in ("de", "", "*")],
)
def test_the_browser_chooses_the_language(ask, alice, dock, accepted, words):
    store(dock, SEVEN)
    assert licenses(ask(alice, "?type=2", **{"Accept-Language": accepted}))[0]["description"] == words


def test_the_admin_works_in_chinese(client, alice, dock):
    store(dock, SEVEN)
    client.force_login(alice)
    row = UnlockLicense.objects.first()
    for name, arguments in (("unlocklicense_changelist", []), ("unlocklicense_change", [row.pk])):
        page = reverse(f"admin:licenses_{name}", args=arguments)
        response = client.get(page, headers={"Accept-Language": "zh-CN"})
        assert response.status_code == 200
        assert 'lang="zh-hans"' in response.content.decode()


def test_times_are_unambiguous_in_every_language():
    moment = datetime(2038, 1, 2, 3, 4, tzinfo=UTC)
    zones = {"Asia/Shanghai": "11:04 UTC+8", "Asia/Kolkata": "08:34 UTC+5:30", "Europe/London": "03:04 UTC"}
    for language, (zone, time) in product(("en", "zh-hans"), zones.items()):
        with translation.override(language), timezone.override(time_zones.Zone(zone)):
            local = timezone.localtime(moment)
            assert formats.date_format(local, "DATETIME_FORMAT") == time_zones.written(moment) == f"2038-01-02 {time}"
            assert formats.date_format(local, "SHORT_DATETIME_FORMAT") == f"2038-01-02 {time}"
    assert moments.there(moment, "America/St_Johns") == "2038-01-01 23:34 UTC-3:30"


# --- the whole way -------------------------------------------------------------------------------------


@pytest.fixture
def bridge(tmp_path, transactional_db):
    """A bridge process on the test's database and broker."""
    log = tmp_path / "bridge.log"
    env = os.environ | {"DATABASE_URL": database_url()}
    with log.open("wb") as output:
        process = Program(["manage.py", "run_mqtt_bridge"], env=env, stderr=output.fileno())
    wait_for(lambda: "Serving docks" in log.read_text() or process.poll() is not None)
    yield process
    process.terminate()
    assert process.wait(timeout=60) == 0, log.read_text()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("bridge")
def test_the_example_sent_by_mosquitto_pub_is_on_the_map(ask, alice, dock, tmp_path):
    DeviceState.objects.filter(device=dock).update(last_seen=timezone.now())
    call = issue(dock, LIST, {"device_model_domain": 0})
    assert claim_call(call)
    message = json.loads(PUBLISHED.read_text()) | {"tid": call.tid, "bid": call.bid}
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(message))
    broker = urlsplit(os.environ["MQTT_URL"])
    topic = f"thing/product/{dock.sn}/services_reply"
    program = find("mosquitto-clients")
    command = [program.path, "-h", broker.hostname, "-p", str(broker.port), "-q", "1", "-t", topic, "-f", file]
    subprocess.run(command, check=True, env=program.env)
    wait_for(lambda: UnlockLicense.objects.count() == 7)
    rows = {one["type"]: one for one in licenses(ask(alice))}
    assert {one["end_time"] for one in rows.values()} == {"2038-01-01T00:00:00Z"}
    assert {one["begin_time"] for one in rows.values()} == {"2023-10-10T14:28:35Z"}
    assert [one["state"] for one in rows.values()].count("disabled") == 6
    assert rows[0]["area_ids"] == [115001769, 8724]
    assert (rows[1]["radius"], rows[1]["height"]) == (1581, 500)
    assert (rows[2]["country"], rows[2]["country_text"]) == (156, "China")
    assert rows[3]["height_text"] == "up to 500 m"
    assert rows[6]["description"] == "RID exemption: EU"
    chinese = {one["type"]: one for one in licenses(ask(alice, **{"Accept-Language": "zh-CN"}))}
    assert (chinese[2]["country_text"], chinese[6]["description"]) == ("中国", "RID 豁免：欧盟")
    assert "22.60309, 113.947815" in chinese[1]["description"]
