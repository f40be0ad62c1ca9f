"""What a technician typed into DJI Pilot 2, as it reaches the broker."""

import pytest

from tests.organizations.test_typed import SPELLINGS
from tests.stack import CODE


@pytest.mark.parametrize("spell", [SPELLINGS["full width"], SPELLINGS["zero-width space"]])
def test_an_id_and_a_code_bind_however_they_are_spelt(world, spell):
    sn = world.new_sn()
    for _ in range(7):  # more than lead to a lock-out
        entry = {"organization_id": spell("12345678"), "device_binding_code": spell(CODE)}
        reply = world.ask(sn, "requests", "airport_organization_get", entry)
        assert reply["output"]["organization_name"]
    assert world.bind((sn, "3-3-0"), organization_id=spell("12345678"), code=spell(CODE)) == [0]
    assert world.device(sn)["organization"] == "12345678"


def test_the_docks_own_entry_is_the_dock_whatever_the_case_of_its_letters(world):
    sn = world.new_sn()
    assert world.bind((sn.lower(), "3-3-0"), gateway=sn) == [0]
    assert world.device(sn)["organization"] == "12345678"
    assert world.key_of(sn.lower()) is None


def test_staff_are_asked_did_you_mean(world):
    sn = world.new_sn()
    world.bind((sn, "3-3-0"))
    session = world.http
    add = f"{world.address}/admin/devices/device/add/"
    session.get(add, timeout=60)
    form = {"sn": sn.lower(), "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    answer = session.post(add, data=form, headers={"Referer": add}, timeout=60)
    assert f"Did you mean {sn}?" in answer.text
    assert world.key_of(sn.lower()) is None
