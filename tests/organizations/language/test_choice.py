"""In which language and zone a person reads: the person's own, else the browser's."""

import pytest
from django.core.cache import cache
from django.http import HttpRequest, StreamingHttpResponse
from django.test import Client
from django.utils import timezone, translation

from organizations.language.middleware import Middleware
from organizations.people.models import Preference

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9"}
pytestmark = pytest.mark.django_db


def language_of(response):
    text = response.content.decode()
    return text.partition('<html lang="')[2].partition('"')[0]


def test_the_browser_decides_until_the_person_does(client, alice):
    client.force_login(alice)
    assert language_of(client.get("/preferences/", headers=CHINESE)) == "zh-hans"
    assert language_of(client.get("/preferences/", headers={"Accept-Language": "fr"})) == "en"
    client.post("/language/", {"language": "en", "next": "/preferences/"}, headers=CHINESE)
    client.cookies.pop("django_language")
    assert language_of(client.get("/preferences/", headers=CHINESE)) == "en"


def test_the_switch_leads_back_to_the_page_and_nowhere_else(client, alice):
    client.force_login(alice)
    back = {"language": "zh-hans", "next": "/admin/devices/device/?q=1"}
    assert client.post("/language/", back)["Location"] == "/admin/devices/device/?q=1"
    assert client.post("/language/", back | {"next": "https://evil.example/"})["Location"] == "/admin/"
    assert client.get("/language/").status_code == 405
    assert Preference.objects.get(user=alice).language == "zh-hans"
    client.post("/language/", {"language": "xx"})
    assert Preference.objects.get(user=alice).language == "zh-hans"


def test_the_sign_in_page_keeps_the_choice_in_the_browser(client):
    page = client.get("/admin/login/")
    assert language_of(page) == "en"
    assert "简体中文" in page.content.decode()
    client.post("/language/", {"language": "zh-hans", "next": "/admin/login/"})
    assert language_of(client.get("/admin/login/")) == "zh-hans"
    assert Preference.objects.count() == 0


def test_times_are_in_the_persons_zone_else_the_browsers_else_utc(client, alice):
    client.force_login(alice)
    cache.clear()

    def zone():
        page = client.get("/admin/")
        return page.content.decode().partition('data-admin-utc-offset="')[2].partition('"')[0]

    assert zone() == "0"
    client.cookies["zone"] = "Asia%2FShanghai"
    assert zone() == "28800"
    client.post("/preferences/", {"time_zone": "Asia/Tokyo"})
    assert zone() == "32400"
    client.cookies["zone"] = "../../etc/passwd"
    assert client.post("/preferences/", {"time_zone": "Mars/Base"}).status_code == 200
    assert zone() == "32400"


def test_nothing_of_a_request_stays_in_its_thread(rf, client):
    request = rf.get("/", headers=CHINESE)
    request.session = client.session
    response = Middleware(lambda _request: StreamingHttpResponse(translation.get_language() for _ in range(2)))(request)
    assert (translation.get_language(), timezone.get_current_timezone_name()) == ("en", "UTC")
    assert b"".join(response) == b"zh-hanszh-hans"
    assert translation.get_language() == "en"


def test_a_preference_costs_no_query(client, alice, django_assert_num_queries):
    client.force_login(alice)
    client.get("/sessions/")
    with django_assert_num_queries(1):  # the session's row
        Middleware(lambda request: StreamingHttpResponse())(signed_in(client))


def signed_in(client):
    request = HttpRequest()
    request.session = client.session.__class__(client.session.session_key)
    return request


def test_only_who_is_signed_in_has_preferences_and_only_their_own(client, alice, bob):
    for answer in (client.get("/preferences/"), client.post("/preferences/", {"language": "zh-hans"})):
        assert answer["Location"].startswith("/admin/login/")
    client.force_login(bob)
    client.post("/preferences/", {"language": "zh-hans", "user": alice.pk})
    assert list(Preference.objects.values_list("user", "language")) == [(bob.pk, "zh-hans")]


@pytest.mark.parametrize("address", ["/language/", "/preferences/"])
def test_another_site_changes_nothing(alice, address):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.post(address, {"language": "zh-hans"}).status_code == 403
    assert Preference.objects.count() == 0


@pytest.mark.parametrize("odd", ["\\000", "%EF%BC%91", "../etc/passwd", "%00", "localtime", "x" * 3000])
def test_odd_cookies_are_ignored(client, alice, odd):
    client.force_login(alice)
    headers = {"Cookie": f"sessionid={client.cookies['sessionid'].value}; zone={odd}; django_language={odd}"}
    assert language_of(client.get("/preferences/", headers=headers)) == "en"
    assert client.post("/language/", {"language": odd, "next": odd}, headers=headers)["Location"] == "/admin/"
