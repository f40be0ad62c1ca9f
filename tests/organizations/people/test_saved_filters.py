"""Saved filters: each person's own, above the list that they belong to."""

import pytest

from organizations.people import saved_filters
from organizations.people.models import SavedFilter

DEVICES = "/admin/devices/device/"
FORM = {"page": "admin:devices_device_changelist", "name": "Gone", "query": "presence=offline&p=2"}


@pytest.fixture
def saved(client, alice):
    client.force_login(alice)
    assert client.post("/saved-filters/", FORM)["Location"] == f"{DEVICES}?presence=offline"
    return SavedFilter.objects.get()


def strip(client, query=""):
    text = client.get(f"{DEVICES}{query}").content.decode()
    return text.partition('class="saved-filters"')[2].partition("</div>")[0]


def test_a_filter_is_saved_shown_and_forgotten(client, saved):
    assert 'href="?presence=offline">Gone<' in strip(client)
    assert "Save filter" not in strip(client)  # nothing is filtered
    assert "Save filter" in strip(client, "?presence=online")
    shown = strip(client, "?presence=offline&p=0")
    assert 'aria-current="true"' in shown
    assert "Save filter" not in shown
    assert client.post(f"/saved-filters/{saved.pk}/delete/")["Location"] == f"{DEVICES}?presence=offline"
    assert not SavedFilter.objects.exists()


def test_the_same_name_replaces_the_earlier_filter(client, saved):
    client.post("/saved-filters/", FORM | {"query": "presence=never"})
    assert [row.query for row in SavedFilter.objects.all()] == ["presence=never"]


def test_nobody_else_sees_or_forgets_it(client, saved, bob):
    client.force_login(bob)
    assert "Gone" not in strip(client, "?presence=online")
    assert client.post(f"/saved-filters/{saved.pk}/delete/").status_code == 404
    assert client.post("/saved-filters/", FORM | {"name": "Mine"}).status_code == 302
    assert set(SavedFilter.objects.values_list("user__username", "name")) == {("alice", "Gone"), ("bob", "Mine")}


@pytest.mark.parametrize(
    "wrong",
    [{"page": "admin:index"}, {"page": "https://example.org/"}, {"page": "admin:no_changelist"}, {"name": ""},
     {"name": "n" * 61}, {"query": ""}, {"query": "q" * 2001}, {"name": "\0"}],
)  # fmt: skip
def test_only_lists_are_saved(client, alice, wrong):
    client.force_login(alice)
    assert client.post("/saved-filters/", FORM | wrong).status_code == 400
    assert not SavedFilter.objects.exists()


def test_a_person_keeps_so_many_of_a_list(client, alice, saved, monkeypatch):
    monkeypatch.setattr(saved_filters, "MOST", 1)
    client.post("/saved-filters/", FORM | {"name": "Another"}, follow=True)
    assert SavedFilter.objects.get().name == "Gone"


def test_who_is_not_signed_in_saves_nothing(client, db):
    assert "/admin/login/" in client.post("/saved-filters/", FORM)["Location"]
    assert client.get("/saved-filters/").status_code == 405
