"""Numbers that docks report are shown in words, and unknown ones unchanged."""

import pytest

FLYING_OUT = "flying the route in or out of the dock"

SENT_CALLS = """
from datetime import timedelta
from django.utils import timezone
from devices.models import Device, ServiceCall
now = timezone.now()
dock = Device.objects.get(sn="{sn}")
for number in range({count}):
    call = ServiceCall.objects.create(
        device=dock, organization=dock.organization, method="unlock_license_switch", subject=f"switch:{{number}}",
        data={{"license_id": number, "enable": True}}, status="sent", sent=now, deadline=now + timedelta(minutes=10),
    )
    print(call.pk, call.tid)
"""


@pytest.mark.parametrize(
    ("model_key", "mode_code", "words"),
    [
        ("0-100-0", 21, FLYING_OUT),
        ("0-100-1", 21, FLYING_OUT),
        ("0-67-0", 21, "mode 21"),
        ("0-91-1", 21, "mode 21"),
        ("0-91-1", 20, "circling a point of interest"),
    ],
)
def test_a_mode_is_that_of_the_model(world, model_key, mode_code, words):
    dock, aircraft = world.new_sn(), world.new_sn("DRONE")
    assert world.bind((dock, "3-3-0"), (aircraft, model_key)) == [0, 0]
    _, type_, sub_type = model_key.split("-")
    world.topology(dock, (aircraft, int(type_), int(sub_type)))
    world.osd(aircraft, gateway=dock, mode_code=mode_code)
    world.eventually(lambda: (world.device(aircraft)["state"] or {}).get("mode_code") == mode_code)
    assert world.device(aircraft)["state"]["mode"] == words
    assert words in world.device_page(aircraft)


def test_a_code_is_told_in_words_and_an_unknown_one_with_its_message(world):
    sn = world.new_sn()
    assert world.bind((sn, "3-3-0")) == [0]
    answers = {
        316026: {"result": 316026},
        321004: {"result": 321004},
        1: {"result": 1, "output": {"msg": "licence store is locked", "nonce": "a secret"}},
    }
    told = world.stack.manage("shell", "-v0", "-c", SENT_CALLS.format(sn=sn, count=len(answers)))
    calls = dict(zip(answers, (line.split() for line in told.split("\n") if line), strict=True))
    for code, (_, tid) in calls.items():
        message = {"tid": tid, "bid": tid, "timestamp": 1700000000000, "method": "unlock_license_switch"}
        world.say(f"thing/product/{sn}/services_reply", message | {"data": answers[code]})

    found = {}
    for code, (key, _) in calls.items():
        world.eventually(lambda key=key: world.get(f"service-calls/{key}/")["status"] == "failed")
        found[code] = world.get(f"service-calls/{key}/")
    assert found[316026]["text"] == "Failed: the dock's emergency stop is pressed; release it and try again (316026)."
    assert found[321004]["problem"]["dji_text"] == "the route file cannot be read; check it"
    message = '{"result": 1, "output": {"msg": "licence store is locked", "nonce": "***"}}'
    assert found[1]["text"] == f"Failed with code 1, which DJI does not document; the dock's message: {message}"
    page = world.page(f"devices/servicecall/{calls[1][0]}/change/")
    assert found[1]["text"] in page
    assert "1: not documented by DJI" in page
