"""What people read when a request fails: the site's look, and what to do next."""

import pytest
from django.test import Client
from django.urls import path

from cloudapi import urls

pytestmark = pytest.mark.django_db


def fail(_request):
    raise RuntimeError("a canary")


urlpatterns = [*urls.urlpatterns, path("fails/", fail)]
handler500 = urls.handler500


@pytest.mark.parametrize(
    ("asked", "status", "advice"),
    [
        ("/no/such/", 404, "Search for it from the start page."),
        ("/admin/devices/device/?q=%00", 400, "reload the page and try again"),
        ("/admin/organizations/organization/add/", 403, "Ask a manager of the organization"),
        ("/fails/", 500, "look whether it has been done"),
    ],
)
def test_an_error_page_says_what_to_do_next(alice, settings, asked, status, advice):
    settings.ROOT_URLCONF = __name__
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    answer = client.get(asked)
    text = answer.content.decode()
    assert answer.status_code == status
    assert advice in text
    assert "admin_site.css" in text
    assert 'href="/admin/"' in text
    assert "canary" not in text


def test_a_form_that_is_out_of_date_changes_nothing_and_the_page_says_so(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    answer = client.post("/preferences/", {"time_zone": "Asia/Shanghai"})
    assert answer.status_code == 403
    assert "Nothing was changed." in answer.content.decode()


def test_an_error_page_is_in_the_visitors_language(client):
    client.cookies["django_language"] = "zh-hans"
    assert '<html lang="zh-hans"' in client.get("/no/such/").content.decode()
