"""Commanding docks in a browser: sent without loading the page, followed live, nothing typed is lost."""

import re
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from devices.calls import asking, batches, hearing, sending
from devices.calls.hearing import Report
from devices.calls.states import Source
from devices.models import Device, DeviceState, ServiceCall
from mqtt_bridge.models import Heartbeat
from organizations.audit import Actor
from organizations.models import AuditEvent
from tests.browser.pages import too_wide

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
]
NEWEST = "#commands-calls .call >> nth=0"
LINK = "https://account.dji.com/verify?token=1"


@pytest.fixture(autouse=True)
def _bridge(db, monkeypatch):
    monkeypatch.setattr(Heartbeat, "STALE_AFTER", timedelta(hours=1))
    now = timezone.now()
    Heartbeat.objects.create(instance="bridge", started_at=now, beat_at=now, round_trip_ms=2)


def page_of(dock):
    return f"/admin/devices/device/{dock.pk}/change/"


def answer(call, data, *, source=Source.REPLY):
    """What the dock says to a call, as the bridge hears it."""
    with transaction.atomic():
        hearing.hear_docks([Report(call.device.sn, source, call.tid, call.bid, data)], now=timezone.now())


def open_call():
    call = ServiceCall.objects.select_related("device").get(status="queued")
    assert sending.claim_many([call.pk], now=timezone.now())
    return call


def test_a_command_is_followed_to_its_end_and_nothing_typed_is_lost(visit, alice, dock):
    page = visit(alice, page_of(dock))
    page.fill("#id_callsign", "half typed")
    page.click("#details-login summary")
    page.fill("#id_login_username", "pilot@exam")
    page.click("#command-read-dock button")
    page.wait_for_selector(f"{NEWEST} >> text=waiting to be sent")
    assert page.is_disabled("#command-read-dock button")
    call = open_call()
    page.wait_for_selector(f"{NEWEST} >> text=Sent; the dock has not answered yet.")
    assert page.is_visible(f"{NEWEST} >> progress")
    answer(call, {"result": 0, "device_model_domain": 3, "consistence": True, "licenses": []})
    page.wait_for_selector(f"{NEWEST} >> text=Done: 0 licenses.")
    page.wait_for_selector("#command-read-dock button:not(:disabled)")
    assert not page.is_visible(f"{NEWEST} >> progress")
    assert page.input_value("#id_callsign") == "half typed"
    assert page.input_value("#id_login_username") == "pilot@exam"
    page.wait_for_selector("[data-announce] >> text=Read licenses: Done: 0 licenses.", state="attached")


def test_a_login_that_wants_a_code_shows_the_link_and_takes_the_code(visit, alice, dock):
    page = visit(alice, page_of(dock))
    page.click("#details-login summary")
    page.fill("#id_login_username", "pilot@example.org")
    page.fill("#id_login_password", "canary-Tr0ub4dor")
    page.click("#command-login button")
    page.wait_for_selector("#details-login:not([open])", state="attached")
    call = open_call()
    answer(call, {"result": 0, "output": {"status": "in_progress"}})
    page.wait_for_selector(".account-logging_in")
    failed = {"result": 0, "output": {"status": "failed", "verification_code_url": LINK}}
    answer(call, failed, source=Source.EVENT)
    page.wait_for_selector(f'#commands-account a[href="{LINK}"][rel="noopener noreferrer"]')
    page.wait_for_selector("#details-login[open]")
    assert page.input_value("#id_login_username") == "pilot@example.org"
    assert "canary" not in page.content()
    page.fill("#id_login_password", "canary-Tr0ub4dor")
    page.fill("#id_login_verification_code", "123456")
    page.click("#command-login button")
    page.wait_for_selector(f"{NEWEST} >> text=waiting to be sent")
    call = open_call()
    for percent in (10, 90):
        told = {"result": 0, "output": {"status": "in_progress", "progress": {"percent": percent}}}
        answer(call, told, source=Source.EVENT)
        page.wait_for_selector(f"{NEWEST} >> text=The dock works on it: {percent} %.")
        assert page.locator(f"{NEWEST} >> progress").get_attribute("value") == str(percent)
    answer(call, {"result": 0, "output": {"status": "ok"}}, source=Source.EVENT)
    page.wait_for_selector(".account-logged_in")


def test_a_mistake_is_shown_beside_its_field_without_loading_the_page(visit, alice, dock):
    page = visit(alice, page_of(dock))
    page.click("#details-switch summary")
    page.fill("#id_switch_license_id", "areas")
    page.select_option("#id_switch_enable", "on")
    page.click("#command-switch button")
    page.wait_for_selector("#command-switch .command-error")
    assert page.evaluate("document.activeElement.id") == "id_switch_license_id"
    assert page.input_value("#id_switch_license_id") == "areas"
    assert not ServiceCall.objects.exists()


def test_the_keyboard_suffices_and_keeps_its_place(visit, alice, dock):
    page = visit(alice, page_of(dock))
    page.focus("#command-update button")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"{NEWEST} >> text=Update licenses (newest)")
    assert page.evaluate("document.activeElement.id") == "submit-update"


def test_nothing_changes_under_a_finger_so_that_no_click_is_lost(visit, alice, dock):
    actor = Actor(AuditEvent.Through.ADMIN, user=alice)
    first = asking.issue(device=dock, method="unlock_license_update", actor=actor)
    page = visit(alice, page_of(dock))
    page.wait_for_load_state("networkidle")
    page.hover(f"{NEWEST} >> a")
    page.mouse.down()
    with page.expect_response(lambda response: "fragment" in response.url) as fetched:
        read = {"device_model_domain": 3}
        asking.issue(device=dock, method="unlock_license_list", data=read, actor=actor)
    fetched.value.finished()
    page.wait_for_timeout(200)  # a page that does not wait shows it by now
    page.mouse.up()
    page.wait_for_url(f"**/servicecall/{first.pk}/change/")


def test_it_works_without_scripts(visit, alice, dock):
    page = visit(alice, page_of(dock), scripts=False)
    page.click("#command-read-dock button")
    assert page.url.endswith(f"{page_of(dock)}#commands")
    assert "waiting to be sent" in page.inner_text("#commands-calls")
    page.click("#command-read-dock button", force=True)  # disabled: nothing happens
    assert ServiceCall.objects.count() == 1


def test_another_operators_call_appears_by_itself(visit, alice, bob, dock):
    page = visit(bob, page_of(dock))
    assert page.locator("#commands form").count() == 0
    asking.issue(device=dock, method="unlock_license_update", actor=Actor(AuditEvent.Through.ADMIN, user=alice))
    page.wait_for_selector(f"{NEWEST} >> text=Update licenses (newest)")


def fleet(organization, count):
    docks = [
        Device(sn=f"D{number:03}", model_key="3-2-0", organization=organization, callsign=f"Substation North {number}")
        for number in range(count)
    ]
    Device.objects.bulk_create(docks)
    DeviceState.objects.bulk_create(
        DeviceState(device=dock, online=True, last_seen=timezone.now()) for dock in Device.objects.all()
    )


def test_a_batch_is_asked_about_started_followed_and_stopped(visit, alice, organization):
    fleet(organization, 30)
    page = visit(alice, "/admin/devices/device/")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "read_dock_selected")
    page.click("button[name=index]")
    assert page.inner_text(".batch-form h2 strong") == "30"
    page.click(".submit-row input[type=submit]")
    page.wait_for_selector("text=0 of 30 done, 30 open")
    page.wait_for_selector('[data-live-word][data-state="live"]')
    for call in ServiceCall.objects.select_related("device").order_by("device__sn")[:10]:
        sending.claim_many([call.pk], now=timezone.now())
        answer(call, {"result": 0, "device_model_domain": 3, "licenses": []})
    page.wait_for_selector("text=10 of 30 done, 20 open")
    assert page.locator(".batch-bar rect").count() == 2
    page.click("text=Stop: cancel the 20 not sent yet")
    page.wait_for_selector("text=10 of 30 done, 20 did not succeed")


def test_nothing_is_wider_than_the_screen(visit, alice, dock, organization):
    Device.objects.filter(pk=dock.pk).update(callsign="A very long name of a dock " * 4)
    actor = Actor(AuditEvent.Through.ADMIN, user=alice)
    batch = batches.start(
        devices=[dock], method="unlock_license_list", data={"device_model_domain": 3}, actor=actor, note="x" * 400
    )
    call = open_call()
    answer(call, {"result": 325012, "output": {}})
    page = visit(alice, page_of(dock))
    assert too_wide(page, 1280, 390) == []
    for path in (
        "/admin/devices/servicecall/",
        f"/admin/devices/servicecall/{call.pk}/change/",
        "/admin/devices/servicecallbatch/",
        f"/admin/devices/servicecallbatch/{batch.pk}/change/",
    ):
        page.goto(path)
        assert too_wide(page, 1280, 390) == [], path


def test_hostile_text_runs_nothing(visit, alice, dock):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    Device.objects.filter(pk=dock.pk).update(callsign=evil)
    page = visit(alice, page_of(dock))
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    asking.issue(
        device=dock, method="unlock_license_update", actor=Actor(AuditEvent.Through.ADMIN, user=alice), note=evil
    )
    page.wait_for_selector(NEWEST)
    call = open_call()
    answer(call, {"result": evil})
    page.wait_for_selector(f"{NEWEST} >> text=failed")
    page.goto(page.get_attribute(f"{NEWEST} >> a", "href"))  # a click may hit what the page just replaces
    page.wait_for_selector(".call-page")
    assert re.search("onerror", page.inner_text("body"))
    assert dialogs == []


def test_the_choice_how_long_to_wait_stays_while_the_page_follows(visit, alice, dock):
    DeviceState.objects.filter(device=dock).update(online=False)
    page = visit(alice, page_of(dock))
    page.select_option("#command-read-dock select", "604800")
    page.focus("#id_callsign")
    options = "document.querySelector('#command-read-dock option')"
    page.evaluate(f"{options}.textContent = 'as of a minute ago'")  # so that this part is replaced, too
    actor = Actor(AuditEvent.Through.ADMIN, user=alice)
    asking.issue(device=dock, method="unlock_license_list", data={"device_model_domain": 0}, queue=True, actor=actor)
    page.wait_for_selector("#submit-read-aircraft .wait", state="detached")  # fetched anew: that one waits now
    page.wait_for_function(f"{options}.textContent !== 'as of a minute ago'")
    assert page.input_value("#command-read-dock select") == "604800"
    page.click("#command-read-dock button[name=queue]")
    page.wait_for_selector("#commands-calls .call >> nth=1 >> text=Waiting for the dock to come online, until")
    call = ServiceCall.objects.get(data={"device_model_domain": 3})
    assert call.expires - call.created == timedelta(days=7)


def test_a_batch_over_two_organizations_is_followed_live(visit, staff, dock, other_organization):
    other = Device.objects.create(sn="NORTH1", model_key="3-2-0", organization=other_organization)
    DeviceState.objects.create(device=other, online=True, last_seen=timezone.now())
    actor = Actor(AuditEvent.Through.ADMIN, user=staff)
    batch = batches.start(
        devices=[dock, other], method="unlock_license_list", data={"device_model_domain": 3}, actor=actor
    )
    page = visit(staff, f"/admin/devices/servicecallbatch/{batch.pk}/change/")
    for call in batch.calls.select_related("device"):
        assert sending.claim_many([call.pk], now=timezone.now())
        page.wait_for_selector(f'[data-call="{call.pk}"] >> text=Sent; the dock has not answered yet.', timeout=4_000)
    assert page.is_visible('[data-live-word][data-state="live"]')
