"""Mode codes in words."""

import pytest

from mqtt_bridge.protocol.mode_codes import describe


@pytest.mark.parametrize(
    ("mode_code", "model_key", "words"),
    [
        (0, "3-2-0", "idle"),
        (5, "3-3-0", "waiting for calibration"),
        (0, "0-91-0", "standing by"),
        (14, "0-67-1", "not connected"),
        (20, "0-91-0", "circling a point of interest"),
        (21, "0-100-1", "circling a point of interest"),
        (21, "0-91-0", "mode 21"),
        (99, "3-2-0", "mode 99"),
        (0, "", "mode 0"),
        (0, "2-174-0", "mode 0"),
    ],
)
def test_a_mode_is_said_in_words_and_an_unknown_one_as_its_number(mode_code, model_key, words):
    assert describe(mode_code, model_key) == words
