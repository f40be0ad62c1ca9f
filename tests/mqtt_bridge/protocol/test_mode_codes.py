"""Mode codes in words."""

import pytest

from mqtt_bridge.protocol.mode_codes import describe
from mqtt_bridge.protocol.model_keys import AIRCRAFT, DOCK, PRODUCTS, domain

# The last number on DJI's page of each model.
LAST = {
    **dict.fromkeys(("3-1-0", "3-2-0", "3-3-0"), 5),
    **dict.fromkeys(("0-60-0", "0-89-0", "0-77-0", "0-77-1", "0-77-2", "0-77-3"), 18),
    **dict.fromkeys(("0-99-0", "0-99-1", "0-103-0"), 19),
    **dict.fromkeys(("0-67-0", "0-67-1", "0-91-0", "0-91-1"), 20),
    **dict.fromkeys(("0-100-0", "0-100-1"), 21),
}


@pytest.mark.parametrize(
    ("mode_code", "model_key", "words"),
    [
        (0, "3-2-0", "idle"),
        (5, "3-3-0", "waiting for calibration"),
        (0, "0-91-0", "standing by"),
        (14, "0-67-1", "not connected"),
        (20, "0-91-0", "circling a point of interest"),
        (20, "0-100-1", "circling a point of interest"),
        (21, "0-100-0", "flying the route in or out of the dock"),
        (21, "0-100-1", "flying the route in or out of the dock"),
        (21, "0-91-0", "mode 21"),
        (21, "0-67-0", "mode 21"),
        (19, "0-89-0", "mode 19"),
        (-1, "3-2-0", "mode -1"),
        (0, "", "mode 0"),
        (0, "2-174-0", "mode 0"),
        (0, "0-999-0", "mode 0"),
        (0, "3-4-0", "mode 0"),
    ],
)
def test_a_mode_is_said_in_words_and_an_unknown_one_as_its_number(mode_code, model_key, words):
    assert describe(mode_code, model_key) == words


@pytest.mark.parametrize(("model_key", "last"), LAST.items())
def test_each_model_has_the_numbers_of_its_own_page(model_key, last):
    assert [describe(code, model_key).startswith("mode ") for code in range(last + 2)] == [False] * (last + 1) + [True]


def test_every_dock_and_aircraft_that_we_name_has_modes():
    assert set(LAST) == {key for key in PRODUCTS if domain(key) in (DOCK, AIRCRAFT)}
