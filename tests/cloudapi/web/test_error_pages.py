"""What people read when a request fails: the site's look, and what to do next."""

import re

import pytest
from django.db import OperationalError
from django.test import Client
from django.urls import path

from cloudapi import urls

pytestmark = pytest.mark.django_db


def fail(_request):
    raise RuntimeError("a canary")


def miss_database(_request):
    raise OperationalError("connection refused")


urlpatterns = [*urls.urlpatterns, path("fails/", fail), path("away/", miss_database)]
handler500 = urls.handler500


@pytest.mark.parametrize(
    ("asked", "status", "advice"),
    [
        ("/no/such/", 404, "Search for it from the start page."),
        ("/admin/devices/device/?q=%00", 400, "reload the page and try again"),
        ("/admin/organizations/organization/add/", 403, "Ask a manager of the organization"),
        ("/fails/", 500, "look whether it has been done"),
        ("/away/", 503, "Try again in a few seconds."),
        ("/language/", 405, "Nothing was changed."),
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


@pytest.mark.parametrize("asked", ["/no/such/", "/language/", "/fails/", "/away/", "/admin/devices/device/?q=%00"])
def test_an_error_page_is_in_the_visitors_language(alice, settings, asked):
    settings.ROOT_URLCONF = __name__
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    client.cookies["django_language"] = "zh-hans"
    text = client.get(asked).content.decode()
    assert '<html lang="zh-hans"' in text
    assert not re.search("[A-Za-z]{4} [a-z]", re.search("<main.*</main>", text, re.DOTALL)[0].partition("<h1>")[2])


def test_a_form_that_comes_after_the_sign_out_changes_nothing_and_its_page_comes_back(client):
    shown = client.get("/admin/login/").content.decode()
    assert "You are signed out" not in shown
    asked = {"headers": {"Referer": "http://testserver/admin/devices/device/?q=dock"}}
    answer = client.post("/admin/organizations/bindingcode/1/revoke/", **asked)
    assert answer["Location"] == "/admin/login/?next=/admin/devices/device/%3Fq%3Ddock"
    assert "You are signed out, so nothing was changed." in client.get(answer["Location"]).content.decode()


@pytest.mark.parametrize("referer", ["", "https://evil.example.org/"])
def test_no_page_of_others_comes_back(client, referer):
    answer = client.post("/preferences/", headers={"Referer": referer})
    assert answer["Location"] == "/admin/login/?next=/preferences/"
