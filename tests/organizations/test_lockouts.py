"""Wrong codes in the admin: seen and cleared by platform staff only."""

import pytest
from django.utils import timezone

from organizations.credentials import Credentials, check
from organizations.models import AuditEvent, BindingFailure

LIST = "/admin/organizations/bindingfailure/"


@pytest.fixture
def guesser(code):
    wrong = [Credentials("GUESSER", "12345678", f"WRONGCODE{number}") for number in range(5)]
    check(wrong, now=timezone.now())
    return Credentials("GUESSER", "12345678", code[1])


def clear(client):
    rows = list(BindingFailure.objects.values_list("pk", flat=True)[:1])
    return client.post(LIST, {"action": "clear_lockout", "_selected_action": rows})


def test_one_row_of_a_gateway_clears_its_whole_lock_out(client, staff, guesser):
    assert check([guesser], now=timezone.now())[0].code is None
    client.force_login(staff)
    clear(client)
    assert check([guesser], now=timezone.now())[0].code is not None
    event = AuditEvent.objects.get(action="clear lock-out")
    assert (event.user, event.before["gateway_sn"], event.before["wrong_pairs"]) == (staff, "GUESSER", 5)


@pytest.mark.usefixtures("guesser")
def test_a_manager_neither_sees_nor_clears_lock_outs(client, alice):
    client.force_login(alice)
    assert client.get(LIST).status_code == 403
    assert clear(client).status_code == 403
    assert BindingFailure.objects.count() == 5


@pytest.mark.usefixtures("guesser")
def test_the_filter_shows_who_is_locked_out_now(client, staff):
    BindingFailure.objects.create(gateway_sn="CLUMSY", pair_digest="1", reason="wrong", last_at=timezone.now())
    client.force_login(staff)
    found = client.get(f"{LIST}?locked=yes").context["cl"].queryset
    assert set(found.values_list("gateway_sn", flat=True)) == {"GUESSER"}
