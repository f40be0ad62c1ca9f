"""What docks report in numbers is shown in words, and what nobody explains as it came."""

import pytest

FLYING_OUT = "flying the route in or out of the dock"


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
