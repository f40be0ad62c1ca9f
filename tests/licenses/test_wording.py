"""Licenses in words."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from licenses import wording
from licenses.models import UnlockLicense
from licenses.wording import State, describe, height_limit, state_of
from mqtt_bridge.protocol.messages import LicenseListReply, decode_data
from tests.licenses.lists import SEVEN

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["area_ids", "radius", "latitude", "longitude", "height", "country_number", "points", "level"])
any_details = st.dictionaries(NAMES, json_values) | json_values


def made(kind, details=None, **fields):
    return UnlockLicense(type=kind, details={} if details is None else details, **fields)


def test_the_example_in_english_and_chinese():
    reply = decode_data(LicenseListReply, {"result": 0, "licenses": SEVEN})
    rows = [made(told.common_fields.type, told.details) for told in reply.licenses]
    assert [describe(row, "en") for row in rows] == [
        "Authorization zones 115001769 and 8724",
        "Custom circle of 1581 m around 22.60309, 113.947815, up to 500 m",
        "Country: China, up to 500 m",
        "Height up to 500 m",
        "Custom polygon of 3 corners",
        "Power",
        "RID exemption: EU",
    ]
    assert [describe(row, "zh-hans") for row in rows] == [
        "授权区 115001769、8724",
        "以 22.60309, 113.947815 为圆心、半径 1581 米的圆形区域，限高 500 米",
        "国家/地区：中国，限高 500 米",
        "限高 500 米",
        "3 个顶点的多边形区域",
        "功率",
        "RID 豁免：欧盟",
    ]


@pytest.mark.parametrize(
    ("kind", "details", "words"),
    [
        (0, {"area_ids": [7]}, "Authorization zone 7"),
        (0, {"area_ids": [1, 2, 3]}, "Authorization zones 1, 2 and 3"),
        (0, {"area_ids": []}, "Authorization zones: not told"),
        (1, {"radius": 0, "latitude": 1, "longitude": "2.5"}, "Custom circle of 0 m, a point, at 1.00000, 2.50000"),
        (1, {"latitude": 1, "longitude": 2}, "Custom circle around 1.00000, 2.00000, radius not told"),
        (1, {"radius": 5}, "Custom circle of 5 m around a place not told"),
        (2, {"country_number": 36, "height": 65535}, "Country: Australia, up to 65535 m"),
        (2, {"country_number": 999}, "Country: 999"),
        (2, {}, "Country: not told"),
        (3, {"height": 0}, "Height up to 0 m"),
        (3, {"height": 65536}, "Height 65536 (not usable)"),
        (3, {}, "Height limit: not told"),
        (4, {"points": [{}]}, "Custom polygon of 1 corner"),
        (4, {}, "Custom polygon of 0 corners"),
        (6, {"level": 2}, "RID exemption: China"),
        (6, {"level": 9}, "RID exemption: level 9"),
        (77, {"new": 1}, "type 77"),
        (None, {}, "type not told"),
    ],
)
def test_odd_details_are_said_as_they_are(kind, details, words):
    assert describe(made(kind, details), "en") == words


def test_many_areas_are_counted():
    words = describe(made(0, {"area_ids": list(range(1000))}), "en")
    assert words.endswith("10, 11 and 988 more")
    assert describe(made(0, {"area_ids": list(range(1000))}), "zh").endswith("11、另外 988 个")


@given(st.integers() | st.none(), any_details, st.sampled_from(["en", "zh-hans"]))
def test_no_details_crash_it(kind, details, language):
    sentence = describe(made(kind, details), language)
    assert sentence
    assert len(sentence) < 700


def test_the_language_is_the_active_one():
    for language, words in (("zh-hans", "限高 120 米"), ("en", "up to 120 m"), ("fr", "up to 120 m")):
        with translation.override(language):
            assert height_limit(120) == words
    with translation.override(None):
        assert height_limit(120) == "up to 120 m"


def test_every_word_is_there_in_both_languages():
    for language in ("en", "zh-hans"):
        for kind in range(7):
            assert str(kind) not in wording.type_name(kind, language)
        assert len({wording.state_name(state, language) for state in State}) == 6
        assert len({wording.inventory_name(domain, language) for domain in (0, 3, 9)}) == 3
    assert wording.type_name(77, "zh") == "类型 77"


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"enabled": True, "begin_time": NOW, "end_time": NOW + DAY}, State.IN_FORCE),
        ({"enabled": True}, State.IN_FORCE),
        ({"enabled": False, "end_time": NOW + DAY}, State.DISABLED),
        ({"enabled": True, "end_time": NOW}, State.EXPIRED),
        ({"enabled": False, "end_time": NOW - DAY}, State.EXPIRED),
        ({"enabled": True, "begin_time": NOW + DAY}, State.NOT_YET),
        ({"enabled": None, "end_time": NOW + DAY}, State.UNKNOWN),
    ],
)
def test_state_of_a_license(fields, state):
    assert state_of(made(5, **fields), NOW) == state


@pytest.mark.parametrize(
    ("domain", "enabled", "state"),
    [(0, True, State.IN_FORCE), (3, True, State.APPROVED), (9, True, State.APPROVED), (3, False, State.DISABLED)],
)
def test_what_the_dock_alone_tells_of_is_not_in_force(domain, enabled, state):
    assert wording.standing(made(5, enabled=enabled, device_model_domain=domain), NOW) == state


@pytest.mark.django_db
def test_in_force_is_what_the_list_calls_in_force(dock):
    moments = (None, NOW - DAY, NOW, NOW + DAY)
    rows = [
        UnlockLicense(device=dock, device_model_domain=0, enabled=enabled, begin_time=begin, end_time=end)
        for enabled in (True, False, None)
        for begin in moments
        for end in moments
    ]
    for number, row in enumerate(rows):
        row.license_id = number
    UnlockLicense.objects.bulk_create(rows)
    found = set(UnlockLicense.objects.in_force(NOW).values_list("license_id", flat=True))
    assert found == {row.license_id for row in rows if state_of(row, NOW) == State.IN_FORCE}
