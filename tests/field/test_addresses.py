"""Numbers that no database takes, in addresses of the admin, on both databases."""

import pytest


@pytest.mark.parametrize("name", ["organization", "organization__id__exact", "id__in"])
def test_a_number_of_23_digits_is_no_fault_of_the_server(world, name):
    session = world.http
    answer = session.get(f"{world.address}/admin/devices/device/", params={name: "9" * 23}, timeout=60)
    assert answer.status_code < 500
