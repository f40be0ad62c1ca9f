"""Names of products and of their modes."""

import pytest

from mqtt_bridge.protocol.model_keys import (
    AIRCRAFT,
    DOCK,
    PAYLOAD,
    PRODUCTS,
    REMOTE_CONTROLLER,
    describe_mode,
    domain,
    domain_of_type,
    name,
)


@pytest.mark.parametrize(
    ("key", "product", "number"),
    [
        ("3-1-0", "DJI Dock", DOCK),
        ("3-3-0", "DJI Dock 3", DOCK),
        ("0-67-0", "Matrice 30", AIRCRAFT),
        ("1-67-0", "Mavic 3T camera", PAYLOAD),
        ("0-91-1", "Matrice 3TD", AIRCRAFT),
        ("2-119-0", "DJI RC Plus", REMOTE_CONTROLLER),
        ("1-50-65535", "P1", PAYLOAD),
    ],
)
def test_product_is_named_by_its_whole_key(key, product, number):
    assert name(key) == product
    assert domain(key) == number


@pytest.mark.parametrize("key", ["0-999-0", "3-4-0", "0-67", "", "x"])
def test_unknown_product_is_shown_raw(key):
    assert name(key) == key


def test_domain_of_an_unknown_product_is_known():
    assert domain("0-999-7") == AIRCRAFT


@pytest.mark.parametrize("key", ["", "0", "0-1", "0-1-2-3", "a-1-2", "0-1-", "-0-1-2", "0-1-2\n", "٠-1-2"])
def test_what_is_no_triple_of_numbers_has_no_domain(key):
    assert domain(key) is None


def test_no_two_products_share_a_name():
    assert len(set(PRODUCTS.values())) == len(PRODUCTS)
    assert {domain(key) for key in PRODUCTS} == {AIRCRAFT, PAYLOAD, REMOTE_CONTROLLER, DOCK}


@pytest.mark.parametrize(
    ("types", "number"),
    [
        ((1, 2, 3), DOCK),
        ((56, 119, 144, 174), REMOTE_CONTROLLER),
        ((60, 67, 77, 89, 91, 99, 100, 103), AIRCRAFT),
    ],
)
def test_type_of_a_known_product_names_its_domain_whatever_its_place(types, number):
    assert {domain_of_type(type_, otherwise=PAYLOAD) for type_ in types} == {number}


@pytest.mark.parametrize("type_", [0, 4, 42, 165, 999])
def test_another_type_is_what_its_place_says(type_):
    assert domain_of_type(type_, otherwise=AIRCRAFT) == AIRCRAFT


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
    assert describe_mode(mode_code, model_key) == words


@pytest.mark.parametrize(
    ("mode_code", "model_key", "words"),
    [(4, "3-2-0", "作业中"), (5, "0-100-1", "航线飞行"), (21, "0-91-0", "模式 21"), (0, "3-4-0", "模式 0")],
)
def test_a_mode_is_said_in_djis_chinese_words(mode_code, model_key, words):
    assert describe_mode(mode_code, model_key, "zh-hans") == words


@pytest.mark.parametrize(("model_key", "last"), LAST.items())
def test_each_model_has_the_numbers_of_its_own_page(model_key, last):
    assert [describe_mode(code, model_key).startswith("mode ") for code in range(last + 2)] == [False] * (last + 1) + [
        True
    ]


def test_every_dock_and_aircraft_that_we_name_has_modes():
    assert set(LAST) == {key for key in PRODUCTS if domain(key) in (DOCK, AIRCRAFT)}
