"""Names of products."""

import pytest

from mqtt_bridge.protocol.model_keys import (
    AIRCRAFT,
    DOCK,
    PAYLOAD,
    PRODUCTS,
    REMOTE_CONTROLLER,
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
