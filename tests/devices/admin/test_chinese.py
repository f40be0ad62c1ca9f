"""What a person reads in Chinese of rows that are kept in English."""

import re

import pytest
from django.utils.translation import override

from devices.calls import batches, wording
from devices.calls.methods import METHODS, title
from devices.models import Device, ServiceCall
from organizations.audit import Actor
from organizations.models import AuditEvent
from organizations.people.models import Preference
from tests.devices.admin.test_exchanges import exchange
from tests.devices.calls.cases import make_call

pytestmark = pytest.mark.django_db
LATIN = re.compile("[A-Za-z]{2,}")


@pytest.fixture
def chinese(client, alice):
    """chinese(address) is a page before Alice, who reads Chinese and lives in Shanghai."""
    Preference.objects.create(user=alice, language="zh-hans", time_zone="Asia/Shanghai")
    client.force_login(alice)

    def read(address):
        response = client.get(address)
        assert response.status_code == 200
        return response.content.decode()

    return read


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"late": True, "result_code": 325012},
        {"percent": 30, "result_code": 0},
        {"queue": True, "result_code": 999999},
        {"result_text": "superseded by a logout. What the dock did is unknown."},
        {"output": {"verification_code_url": "https://example.org/"}, "data": {"verification_code": "***"}},
    ],
)
def test_every_state_of_a_command_is_told_in_chinese(fields):
    with override("zh-hans"):
        for status in ServiceCall.Status.values:
            call = ServiceCall(method="unlock_license_list", status=status, **fields)
            assert LATIN.findall(re.sub(r"\b(DJI|UTC)\b", "", f"{wording.describe(call)} {wording.result(call)}")) == []


def test_a_command_is_named_as_pages_do():
    call = ServiceCall(method="unlock_license_list", data={"device_model_domain": 0}, status="expired")
    call.device = Device(sn="4TADL210010045")
    assert str(call) == "Read licenses in the aircraft, 4TADL210010045 – not sent"
    with override("zh-hans"):
        assert str(call) == "读取飞行器内的证书，4TADL210010045 – 未发送"


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_service_has_chinese_words(method):
    with override("zh-hans"):
        texts = [method.label, method.panel, title(method.name, method.example), method.done({"licenses": 2})]
        texts += [
            text for button in method.buttons for text in (button.title, button.help, button.submit, button.action)
        ]
        assert LATIN.findall(" ".join(map(str, texts))) == []


def test_the_page_of_a_command_shows_what_this_server_noted_in_chinese_and_what_a_person_did_as_it_is(chinese, dock):
    ours = make_call(dock, note="after unlock_license_update", result_text="the broker was lost.", status="expired")
    theirs = make_call(dock, note="by schedule")
    page = chinese(f"/admin/devices/servicecall/{ours.pk}/change/")
    assert "unlock_license_update 之后" in page
    assert "与 MQTT 服务器的连接已断开。" in page
    assert "the broker was lost" not in page
    assert "by schedule" in chinese(f"/admin/devices/servicecall/{theirs.pk}/change/")


def test_a_batch_keeps_english_and_shows_chinese(chinese, alice, dock):
    dock.is_enabled = False
    dock.save()
    with override("zh-hans"):
        batch = batches.start(
            devices=[dock],
            method="unlock_license_list",
            data={"device_model_domain": 0},
            actor=Actor(AuditEvent.Through.ADMIN, alice),
        )
    assert [one["reason"] for one in batch.skipped] == ["This dock is disabled."]
    page = chinese(f"/admin/devices/servicecallbatch/{batch.pk}/change/")
    assert "该机场已禁用。" in page
    assert "This dock is disabled." not in page


def test_the_journal_is_in_the_language_and_zone_of_its_reader(chinese, dock, organization):
    row = exchange(organization=organization, reason="DOCK0001: code used up; DRONE: device disabled")
    page = chinese("/admin/mqtt_bridge/exchange/")
    assert "DOCK0001：绑定码已用完；DRONE：设备已禁用" in page
    hour = (row.received_at.hour + 8) % 24
    assert f"{hour:02}:{row.received_at:%M:%S}</time>" in page
