"""Two organizations invite one name that has no account yet; each side sees only what it may."""

import re

import pytest

from organizations.models import Membership

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PASSWORD = "Quay-side 9"


@pytest.fixture
def browser_of(new_page, live_server, complaints):
    """browser_of(user) is an empty page of somebody's own browser."""
    complaints.allow("WebSocket connection to ", f"{live_server.url}/ws/")
    return lambda user=None: new_page(live_server.url, user)


def invite(page, name, role):
    """Invite through the form; returns the path of the link."""
    page.goto("/admin/organizations/invitation/add/")
    page.fill("#id_username", name)
    page.select_option("#id_role", role)
    page.click("input[name=_save]")
    page.wait_for_selector("#link")
    return re.search("/welcome/.*", page.inner_text("#link"))[0]


def sign_in_as(page, name):
    page.fill("#id_username", name)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")


def test_two_organizations_and_one_name(browser_of, alice, charlie, complaints, live_server):
    harbours = invite(browser_of(alice), "dana", "operator")
    norths = browser_of(charlie)
    kept = invite(norths, "dana", "manager")

    dana = browser_of()
    dana.goto(harbours)
    assert "alice invites dana to Harbour Survey, as operator" in dana.inner_text(".paper")
    dana.fill("#id_new_password1", PASSWORD)
    dana.fill("#id_new_password2", PASSWORD)
    dana.click("input.default")
    dana.wait_for_selector("text=You are a member of Harbour Survey now.")
    sign_in_as(dana, "dana")
    dana.wait_for_selector("h1 >> text=What needs me now?")
    assert "Northern" not in dana.inner_text("body")

    complaints.want(f"{re.escape(live_server.url + kept)}$")  # a 410
    norths.goto(kept)  # what its maker kept opens nothing
    norths.wait_for_selector("h1 >> text=This invitation is not valid any more")
    again = invite(norths, "dana", "viewer")
    norths.goto(again)
    norths.wait_for_selector("text=You are signed in as charlie. This invitation is for dana")

    stranger = browser_of()
    stranger.goto(again)
    assert stranger.locator("input[type=password]").count() == 0
    stranger.click("text=Sign in as dana")
    sign_in_as(stranger, "dana")
    stranger.wait_for_selector("text=Do you want to become a member?")
    stranger.click("input.default")
    stranger.wait_for_selector("text=You are a member of Northern Grid now.")
    roles = Membership.objects.filter(user__username="dana").values_list("organization__name", "role")
    assert dict(roles) == {"Harbour Survey": "operator", "Northern Grid": "viewer"}
