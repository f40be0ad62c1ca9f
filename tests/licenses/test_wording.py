"""Licenses in words, in English and Chinese."""

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from licenses import wording
from licenses.models import UnlockLicense
from licenses.validity import State
from licenses.wording import describe, height_limit
from mqtt_bridge.protocol.messages import LicenseListReply, decode_data
from tests.licenses.lists import SEVEN

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
    assert [describe(row) for row in rows] == [
        "Authorization zones 115001769 and 8724",
        "Custom circle of 1581 m around 22.60309, 113.947815, up to 500 m",
        "Country: China, up to 500 m",
        "Height up to 500 m",
        "Custom polygon of 3 corners",
        "Power",
        "RID exemption: EU",
    ]
    with translation.override("zh-hans"):
        chinese = [describe(row) for row in rows]
    assert chinese == [
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
        (0, {"area_ids": []}, "Authorization zones: not reported"),
        (1, {"radius": 0, "latitude": 1, "longitude": "2.5"}, "Custom circle of 0 m, a point, at 1.00000, 2.50000"),
        (1, {"latitude": 1, "longitude": 2}, "Custom circle around 1.00000, 2.00000, radius not reported"),
        (1, {"radius": 5}, "Custom circle of 5 m around an unknown place"),
        (2, {"country_number": 36, "height": 65535}, "Country: Australia, up to 65535 m"),
        (2, {"country_number": 999}, "Country: 999"),
        (2, {}, "Country: not reported"),
        (3, {"height": 0}, "Height up to 0 m"),
        (3, {"height": 65536}, "Height 65536 (not usable)"),
        (3, {}, "Height limit: not reported"),
        (4, {"points": [{}]}, "Custom polygon of 1 corner"),
        (4, {}, "Custom polygon of 0 corners"),
        (6, {"level": 2}, "RID exemption: China"),
        (6, {"level": 9}, "RID exemption: level 9"),
        (77, {"new": 1}, "type 77"),
        (None, {}, "type not reported"),
    ],
)
def test_odd_details_are_said_as_they_are(kind, details, words):
    assert describe(made(kind, details)) == words


def test_many_areas_are_counted():
    row = made(0, {"area_ids": list(range(1000))})
    assert describe(row).endswith("10, 11 and 988 more")
    with translation.override("zh-hans"):
        assert describe(row).endswith("10、11、另外 988 个")


@given(st.integers() | st.none(), any_details, st.sampled_from(["en", "zh-hans"]))
def test_no_details_crash_it(kind, details, language):
    with translation.override(language):
        sentence = describe(made(kind, details))
    assert sentence
    assert len(sentence) < 700


def test_the_language_is_the_active_one():
    for language, words in (("zh-hans", "限高 120 米"), ("en", "up to 120 m"), ("fr", "up to 120 m")):
        with translation.override(language):
            assert height_limit(120) == words
    with translation.override(None):
        assert height_limit(120) == "up to 120 m"


def test_every_kind_and_state_has_its_words_in_both_languages():
    for language in ("en", "zh-hans"):
        with translation.override(language):
            assert len({wording.type_name(kind) for kind in range(7)}) == 7
            assert len({str(state.label) for state in State}) == 6
            assert len({wording.inventory_name(domain) for domain in (0, 3, 9)}) == 3
            assert wording.type_name(77) == {"en": "type 77", "zh-hans": "类型 77"}[language]


def test_height_that_cannot_be_is_shown_as_it_came():
    row = made(3, {"height": "Sky HIGH"})
    assert describe(row) == "Height Sky HIGH (not usable)"
    with translation.override("zh-hans"):
        assert describe(row) == "限高 Sky HIGH（无法使用）"
