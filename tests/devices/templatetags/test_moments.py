"""Times as people read them."""

import pytest

from devices.templatetags.moments import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3_600, "1 h"), (47 * 3_600, "47 h"), (172_800, "2 days"), (-3, "0 s")],
)
def test_a_length_of_time_is_said_in_its_largest_unit(seconds, said):
    assert duration(seconds) == said
