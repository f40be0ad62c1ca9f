"""Texts of result codes."""

from collections import Counter
from pathlib import Path

import pytest

from mqtt_bridge.protocol import result_codes
from mqtt_bridge.protocol.result_codes import Code, describe, known

FILES = sorted((Path(result_codes.__file__).parent / "data").glob("*.tsv"))
LINES = [line.split("\t") for file in FILES for line in file.read_text("utf-8").splitlines() if line[0] != "#"]

SIMULATED = (314000, 319999, 325001, 325003, 325012)  # what simulated docks answer

# As many as each page lists.
COUNTS = {
    "demo_server": 13,
    "error_code": 448,
    "jsbridge": 14,
    "pilot_error_code": 5,
    "third_party": 3,
    "topic_definition": 2,
}


def codes_of(first_to_last):
    first, _, last = first_to_last.partition("-")
    return range(int(first), int(last or first) + 1)


def codes_in(file):
    return [
        code
        for line in file.read_text("utf-8").splitlines()
        if line[0] != "#"
        for code in codes_of(line.split("\t")[0])
    ]


ALL = [code for file in FILES for code in codes_in(file)]


def test_every_page_is_there_with_all_its_codes_in_order_and_names_its_source():
    assert {file.stem: len(codes_in(file)) for file in FILES} == COUNTS
    assert all(file.read_text("utf-8").startswith("# Source: ") for file in FILES)
    assert all(codes_in(file) == sorted(codes_in(file)) for file in FILES)
    assert [code for code, count in Counter(ALL).items() if count > 1] == []


@pytest.mark.parametrize("code", [316026, 321004, 514107, 514168, *SIMULATED, *Code])
def test_code_is_documented(code):
    assert code in ALL


def test_every_line_is_short_plain_english_and_chinese():
    for codes, english, chinese in LINES:
        assert english.isascii(), codes
        assert 0 < len(english) <= 100, codes
        assert any("\u4e00" <= character <= "\u9fff" for character in chinese), codes
        assert len(chinese) <= 45, codes
        assert not {english[0], english[-1], chinese[0], chinese[-1]} & set(" .。，,;"), codes
        assert not any(str(code) in english + chinese for code in codes_of(codes) if code), codes


def test_every_code_is_told_in_both_languages():
    assert all(known(code) and known(code, "zh") and known(code) != known(code, "zh") for code in ALL)


@pytest.mark.parametrize("code", [1, -5, 316028, 325013, 600105, 615014, 2**40])
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
