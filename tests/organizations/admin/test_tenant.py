"""What every form of organizations' rows does."""

import threading

import pytest
from django.contrib import admin
from django.db import connection, connections
from django.utils import timezone

from devices.models import Device
from organizations.admin.tenant import TenantAdmin
from organizations.models import BindingCode, Organization

BLOCKED = 0.5  # seconds after which a write counts as waiting for the form


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("page", "data", "column", "value"),
    [
        ("organizations/bindingcode", {"label": "new", "max_uses": "1"}, "uses", 1),
        ("organizations/bindingcode", {"label": "new", "max_uses": "1"}, "revoked_at", timezone.now()),
        ("organizations/organization", {"name": "new"}, "is_active", False),
        ("devices/device", {"callsign": "new", "is_enabled": "on"}, "model_key", "3-3-0"),
    ],
)
def test_a_form_undoes_nothing_that_happens_while_it_is_saved(
    client, alice, code, dock, monkeypatch, page, data, column, value
):
    model = {"bindingcode": BindingCode, "organization": Organization, "device": Device}[page.split("/")[1]]
    row = model.objects.get()
    writers = []

    def write():
        model.objects.filter(pk=row.pk).update(**{column: value})
        connections.close_all()

    def save_while_another_writes(*args):
        writers.append(threading.Thread(target=write))
        writers[0].start()
        writers[0].join(BLOCKED)
        save(*args)

    save = TenantAdmin.save_model
    monkeypatch.setattr(TenantAdmin, "save_model", save_while_another_writes)
    client.force_login(alice)
    assert client.post(f"/admin/{page}/{row.pk}/change/", data).status_code == 302
    writers[0].join()
    saved = model.objects.get()
    assert getattr(saved, column) == value
    assert "new" in (getattr(saved, name, "") for name in ("label", "name", "callsign"))


@pytest.mark.parametrize("name", ["Harbour", "<b>\"'&"])
def test_the_box_of_a_row_is_the_stock_one(name):
    row, own = Organization(pk=7, name=name), TenantAdmin(Organization, admin.site)
    assert own.action_checkbox(row) == admin.ModelAdmin.action_checkbox(own, row)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", ["bindingcode/{code}/revoke/", "bindingcode/{code}/history/"])
def test_a_page_that_saves_no_form_locks_nothing(client, alice, code, page):
    client.force_login(alice)
    assert client.post(f"/admin/organizations/{page.format(code=code[0].pk)}").status_code in (200, 302)
