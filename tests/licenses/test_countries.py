"""Names of countries by DJI's numbers."""

import pytest

from licenses.wording import country_name

# ISO 3166-1, in the order of the numbers.
NUMBERS = [
    4, 8, 10, 12, 16, 20, 24, 28, 31, 32, 36, 40, 44, 48, 50, 51, 52, 56, 60, 64, 68, 70, 72, 74, 76, 84, 86, 90, 92,
    96, 100, 104, 108, 112, 116, 120, 124, 132, 136, 140, 144, 148, 152, 156, 158, 162, 166, 170, 174, 175, 178, 180,
    184, 188, 191, 192, 196, 203, 204, 208, 212, 214, 218, 222, 226, 231, 232, 233, 234, 238, 239, 242, 246, 248, 250,
    254, 258, 260, 262, 266, 268, 270, 275, 276, 288, 292, 296, 300, 304, 308, 312, 316, 320, 324, 328, 332, 334, 336,
    340, 344, 348, 352, 356, 360, 364, 368, 372, 376, 380, 384, 388, 392, 398, 400, 404, 408, 410, 414, 417, 418, 422,
    426, 428, 430, 434, 438, 440, 442, 446, 450, 454, 458, 462, 466, 470, 474, 478, 480, 484, 492, 496, 498, 499, 500,
    504, 508, 512, 516, 520, 524, 528, 531, 533, 534, 535, 540, 548, 554, 558, 562, 566, 570, 574, 578, 580, 581, 583,
    584, 585, 586, 591, 598, 600, 604, 608, 612, 616, 620, 624, 626, 630, 634, 638, 642, 643, 646, 652, 654, 659, 660,
    662, 663, 666, 670, 674, 678, 682, 686, 688, 690, 694, 702, 703, 704, 705, 706, 710, 716, 724, 728, 729, 732, 740,
    744, 748, 752, 756, 760, 762, 764, 768, 772, 776, 780, 784, 788, 792, 795, 796, 798, 800, 804, 807, 818, 826, 831,
    832, 833, 834, 840, 850, 854, 858, 860, 862, 876, 882, 887, 894,
]  # fmt: skip


def test_every_country_has_a_name_in_both_languages():
    assert len(NUMBERS) == 249
    for number in NUMBERS:
        english, chinese = country_name(number, "en"), country_name(number, "zh-hans")
        assert english != str(number)
        assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese), (number, chinese)
    assert len({country_name(number, "zh") for number in NUMBERS}) == 249


@pytest.mark.parametrize(
    ("number", "english", "chinese"),
    [(156, "China", "中国"), (36, "Australia", "澳大利亚"), (4, "Afghanistan", "阿富汗"), (276, "Germany", "德国")],
)
def test_leading_zeros_may_be_lost(number, english, chinese):
    assert (country_name(number, "en"), country_name(number, "zh-hans")) == (english, chinese)


@pytest.mark.parametrize("number", [0, 1, 5, 810, 999, 1000, -156, 10**30, None, True, 1.5, "", "CN", "x" * 99, [156]])
def test_what_is_no_country_is_given_back_as_it_is(number):
    assert country_name(number, "en") == str(number)
