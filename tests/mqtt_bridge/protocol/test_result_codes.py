"""Texts of result codes."""

import pytest

from mqtt_bridge.protocol.result_codes import Code, describe, known

DOCUMENTED = [
    *(0, 200001, 210001, 210002, 210003, 210004, 210005, 211001, 212015, 212510, 212511),
    *range(210229, 210236),
    *range(600100, 600105),
    *(312014, 312015, 314000, 319005, 319008, 319010, 319036, 319037, 319038, 319999),
    *(325001, 325003, 325004, *range(325005, 325013), 326002, 328051, 328052, 321515, 321519),
    *(336513, 336515, 337537, 337539, 337540, 338006, 338007),
    *range(514300, 514305),
    *range(615000, 615014),
]


@pytest.mark.parametrize("code", sorted({*DOCUMENTED, *Code}))
def test_documented_code_has_an_english_and_a_chinese_text(code):
    assert describe(code).isascii()
    assert str(code) not in describe(code)
    assert any("\u4e00" <= character <= "\u9fff" for character in describe(code, "zh"))
    assert str(code) not in describe(code, "zh")


@pytest.mark.parametrize("code", [1, -5, 325013, 600105, 615014, 2**40])
def test_unknown_code_is_shown_as_a_number(code):
    assert str(code) in describe(code)
    assert str(code) in describe(code, "zh")
    assert known(code) is known(code, "zh") is None


def test_chinese_variants_are_chinese():
    assert describe(0, "zh-hans") == describe(0, "zh_CN") == describe(0, "zh")


def test_other_languages_get_english():
    assert describe(0, "de") == describe(0, "en")


def test_neighbours_are_not_mixed_up():
    assert "busy" in describe(325011)
    assert "not connected" in describe(325012)
    assert "verified" in describe(615013)
    assert describe(Code.BOUND_ELSEWHERE) != describe(Code.BIND_FAILED)
