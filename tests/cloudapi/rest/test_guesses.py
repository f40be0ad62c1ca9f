"""Counting wrong tries."""

import pytest
from django.core.cache import cache

from cloudapi.rest.guesses import Limit, WrongTries, client_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(address, client):
    assert client_of(address) == client


def test_a_right_try_is_taken_back():
    cache.clear()
    limit = Limit("test", 2, 3600)
    assert [limit.count("a"), limit.count("a", -1), limit.count("a"), limit.count("b")] == [1, 0, 1, 1]


def test_a_client_that_is_often_wrong_waits_until_counting_begins_anew_and_others_do_not():
    cache.clear()
    tries = WrongTries(by_client=Limit("test", 2, 3600), in_all=Limit("tests", 4, 3600))
    for client in "aa":
        tries.note(client)
    assert [0 < tries.wait("a") <= 3600, tries.wait("b")] == [True, 0]
    for client in "bc":
        tries.note(client)
    assert tries.wait("z") > 0
