"""WebSockets of a real web process: who sees what, and for how long."""

import asyncio
import contextlib
import itertools
import os
import re
import socket
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import connect as async_connect
from websockets.exceptions import ConnectionClosed

from devices import binding
from devices.consumers import DeviceConsumer
from devices.live import broadcast
from devices.models import Device, DeviceAccount
from organizations import api_keys
from organizations.audit import Actor
from organizations.models import AuditEvent, Membership, Organization, OrganizationAPIKey, Role
from organizations.people import sessions
from tests.devices.calls.cases import advance, make_call
from tests.organizations.people.sign_in import give_password, with_second_factor
from tests.stack import ROOT, wait_for
from tests.web import running_web

pytestmark = pytest.mark.django_db(transaction=True)
ACTOR = Actor(AuditEvent.Through.COMMAND)


@pytest.fixture(scope="module")
def web(django_db_setup, django_db_blocker, tmp_path_factory):
    with django_db_blocker.unblock(), running_web(tmp_path_factory.mktemp("web") / "log") as web:
        yield web


@pytest.fixture(scope="module")
def slow_web(django_db_setup, django_db_blocker, tmp_path_factory):
    """A web process that looks at rights every 30 seconds only, as in production: what is quicker was told."""
    log = tmp_path_factory.mktemp("web") / "log"
    with django_db_blocker.unblock(), running_web(log, application="cloudapi.asgi:application") as web:
        yield web


@pytest.fixture(scope="module")
def small_web(django_db_setup, django_db_blocker, tmp_path_factory):
    """A web process that takes five sockets, and two of each user or key."""
    # An address of its own keeps its counts in Redis apart from those of wrong keys that other tests show on purpose.
    limits = {"SOCKETS": "5", "SOCKETS_PER_CLIENT": "2", "PUBLIC_URL": "http://127.0.0.1:1"}
    with django_db_blocker.unblock(), running_web(tmp_path_factory.mktemp("web") / "log", **limits) as web:
        yield web


@pytest.fixture
def path(dock):
    return f"/ws/devices/{dock.sn}/"


def owner_path(organization):
    return f"/ws/organizations/{organization.organization_id}/"


def person(request, name):
    return None if name == "anonymous" else request.getfixturevalue(name)


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "code"), [("staff", None), ("alice", None), ("bob", None), ("charlie", 4404), ("anonymous", 4401)]
)
@pytest.mark.parametrize("kind", ["device", "organization"])
def test_only_who_may_see_it_gets_a_snapshot(web, request, path, organization, who, code, kind):
    path = path if kind == "device" else owner_path(organization)
    with web.socket(path, person(request, who)) as socket:
        if code is None:
            assert socket.next()["type"] == "snapshot"
        else:
            assert socket.code() == code


@pytest.mark.parametrize(("who", "code"), [("staff", None), ("alice", 4404), ("charlie", 4404), ("anonymous", 4401)])
def test_an_unclaimed_device_is_for_platform_staff(web, request, who, code):
    Device.objects.create(sn="STRANGER")
    with web.socket("/ws/devices/STRANGER/", person(request, who)) as socket:
        if code is None:
            assert socket.next()["device"]["organization"] is None
        else:
            assert socket.code() == code


@pytest.mark.parametrize(
    "path",
    [
        "/ws/devices/UNKNOWN/",
        "/ws/devices/-x/",
        f"/ws/devices/{'x' * 65}/",
        "/ws/devices/DOCK0001",
        "/ws/devices/DOCK0001/%0a",
        "/ws/devices/../organizations/12345678/",
        "/ws/organizations/99999999/",
        "/ws/organizations/%27%20or%201=1/",
        "/ws/",
        "/elsewhere",
    ],
)
def test_what_is_not_there_closes_with_4404(web, staff, dock, path):
    with web.socket(path, staff) as socket:
        assert socket.code() == 4404


def test_member_of_nothing_sees_nothing(web, alice, path):
    Membership.objects.all().delete()
    with web.socket(path, alice) as socket:
        assert socket.code() == 4404


# --- what is shown ---------------------------------------------------------------------------------


def test_snapshot_of_a_device_shows_it_its_account_and_its_calls(web, alice, dock, path):
    DeviceAccount.objects.create(device=dock, username="pilot@example.org", status="logged_in")
    call = make_call(dock)
    with web.socket(path, alice) as socket:
        snapshot = socket.next()
    assert (snapshot["device"]["sn"], snapshot["device"]["callsign"]) == (dock.sn, "Pier 7")
    assert snapshot["account"]["username"] == "pilot@example.org"
    assert [shown["id"] for shown in snapshot["service_calls"]] == [str(call.pk)]
    assert snapshot["is_complete"]


def test_snapshot_holds_every_open_call_and_the_latest_20(web, alice, dock, organization):
    waiting = make_call(dock)
    for _ in range(21):
        make_call(dock, status="succeeded")
    with web.socket(owner_path(organization), alice) as socket:
        calls = socket.next()["service_calls"]
    assert (len(calls), calls[-1]["id"]) == (21, str(waiting.pk))


def test_both_sockets_hear_each_change_of_a_call(web, alice, dock, organization, path):
    call = make_call(dock)
    with web.socket(path, alice) as device, web.socket(owner_path(organization), alice) as owner:
        device.next("snapshot"), owner.next("snapshot")
        for percent in (10, 50):
            advance(call, status="in_progress", percent=percent)
        seen = [[socket.next("service_call")["percent"] for _ in range(2)] for socket in (device, owner)]
    assert seen == [[10, 50], [10, 50]]


def test_hints_reach_both_sockets_and_not_those_of_other_devices(web, alice, dock, aircraft, organization, path):
    with (
        web.socket(path, alice) as device,
        web.socket(owner_path(organization), alice) as owner,
        web.socket(f"/ws/devices/{aircraft.sn}/", alice) as other,
    ):
        for socket in (device, owner, other):
            socket.next("snapshot")
        broadcast.tell_account(dock)
        assert device.next() == owner.next() == {"type": "account", "sn": dock.sn}
        assert other.within(1.0) == []


def test_frames_come_without_a_way_through_another_thread(monkeypatch):
    monkeypatch.setattr("channels.consumer.aclose_old_connections", None)
    consumer, received = DeviceConsumer(), []
    consumer.stream = SimpleNamespace(receive=received.append)
    asyncio.run(consumer.dispatch({"type": "frames", "frames": [("", "{}")]}))
    assert received == [[("", "{}")]]


def test_another_organization_hears_nothing(web, charlie, dock, other_organization):
    with web.socket(owner_path(other_organization), charlie) as socket:
        socket.next("snapshot")
        advance(make_call(dock))
        broadcast.tell_device([dock])
        assert socket.within(1.0) == []


def test_new_owner_never_hears_or_sees_calls_of_the_former_one(web, staff, charlie, dock, other_organization, path):
    call = make_call(dock)
    binding.release([dock], actor=ACTOR)
    Device.objects.filter(pk=dock.pk).update(organization=other_organization)
    with web.socket(path, charlie) as new, web.socket(path, staff) as everything:
        assert new.next()["service_calls"] == everything.next()["service_calls"] == []
        advance(call, status="succeeded")
        assert new.within(1.0) == everything.within(0) == []


@pytest.mark.turns(3)
def test_a_socket_that_was_idle_for_longer_than_any_timeout_still_receives(web, alice, dock, path):
    call = make_call(dock)
    with web.socket(path, alice) as socket:
        socket.next("snapshot")
        time.sleep(15)
        advance(call, status="sent")
        assert socket.next("service_call")["status"] == "sent"


# --- how long ----------------------------------------------------------------------------------------


def test_former_owner_is_closed_out_when_a_device_is_released(slow_web, alice, dock, path):
    with slow_web.socket(path, alice) as socket:
        socket.next("snapshot")
        binding.release([dock], actor=ACTOR)
        assert socket.code(timeout=20) == 4403


def test_staff_goes_on_with_the_next_owner(web, staff, dock, other_organization, path):
    with web.socket(path, staff) as socket:
        socket.next("snapshot")
        binding.release([dock], actor=ACTOR)
        assert socket.next("snapshot")["device"]["organization"] is None
        dock.refresh_from_db()
        with transaction.atomic():
            broadcast.tell_device([dock])
            Device.objects.filter(pk=dock.pk).update(organization=other_organization)
        assert socket.next("snapshot")["device"]["organization"] == "87654321"
        dock.refresh_from_db()
        advance(make_call(dock))
        assert socket.next("service_call")["organization"] == "87654321"


def take_membership(user, client):
    Membership.objects.filter(user=user).delete()


def deactivate(user, client):
    type(user).objects.filter(pk=user.pk).update(is_active=False)


def log_out(user, client):
    client.logout()


def change_password(user, client):
    user.set_password("another password")
    user.save()


def deactivate_in_the_admin(user, client):
    user.is_active = False
    user.save()


def end_all_sessions(user, client):
    sessions.end([user], actor=ACTOR)


def require_a_second_factor(user, client):
    for organization in Organization.objects.filter(memberships__user=user):
        organization.second_factor_required = True
        organization.save()


@pytest.mark.parametrize(
    ("server", "end"),
    [
        *itertools.product(["web"], [take_membership, deactivate, log_out, change_password]),
        # It looks at rights every 30 seconds: these are told.
        *itertools.product(["slow_web"], [take_membership, deactivate_in_the_admin, log_out, change_password]),
        *itertools.product(["slow_web"], [end_all_sessions, require_a_second_factor]),
    ],
)
def test_a_socket_ends_with_the_rights_of_its_user(request, server, alice, dock, path, end):
    client = Client()
    with request.getfixturevalue(server).socket(path, alice, client=client) as socket:
        socket.next("snapshot")
        end(alice, client)
        assert socket.code(timeout=20) == 4403


def test_who_lacks_a_second_factor_or_showed_only_a_password_opens_no_socket(web, alice, dock, path):
    require_a_second_factor(alice, None)
    with web.socket(path, alice) as socket:
        assert socket.code() == 4401
    with_second_factor(alice)
    client = Client()
    give_password(client, "alice")
    with web.socket(path, client=client) as socket:
        assert socket.code() == 4401
    with web.socket(path, alice) as socket:
        socket.next("snapshot")


def test_a_socket_goes_on_when_another_session_of_its_user_ends(slow_web, alice, dock, path):
    other = Client()
    other.force_login(alice)
    with slow_web.socket(path, alice) as socket:
        socket.next("snapshot")
        other.logout()
        call = make_call(dock)
        advance(call, status="sent")
        assert socket.next("service_call")["status"] == "sent"


def test_logging_out_while_calls_stream_closes_the_socket(web, alice, dock, path):
    client, call = Client(), make_call(dock)
    with web.socket(path, alice, client=client) as socket:
        for percent in range(40):
            advance(call, status="in_progress", percent=percent)
            if percent == 20:
                client.logout()
            time.sleep(0.05)
        assert socket.code() == 4403


# --- programs ----------------------------------------------------------------------------------------


def issue_key(organization, role=Role.VIEWER, **fields):
    """A key of this organization: (row, what a program shows)."""
    row, plain = api_keys.issue(actor=ACTOR, organization=organization, name="integration", role=role, **fields)
    return row, f"Api-Key {plain}"


@pytest.fixture
def key(organization):
    return issue_key(organization)


@pytest.fixture(params=["device", "organization"])
def either_path(request, path, organization):
    return path if request.param == "device" else owner_path(organization)


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example.com"}, {"Origin": "null"}])
def test_a_key_of_the_organization_gets_a_snapshot_from_any_origin_or_none(web, either_path, key, headers):
    with web.program(either_path, key[1], **headers) as socket:
        assert socket.next()["type"] == "snapshot"


def test_a_key_of_another_organization_sees_nothing(web, either_path, other_organization):
    _, shown = issue_key(other_organization, Role.MANAGER)
    with web.program(either_path, shown) as socket:
        assert socket.code() == 4404


def test_an_unclaimed_device_is_for_no_key(web, key):
    Device.objects.create(sn="STRANGER")
    with web.program("/ws/devices/STRANGER/", key[1]) as socket:
        assert socket.code() == 4404


def revoke(row):
    api_keys.revoke([row], actor=ACTOR)


def expire(row):
    OrganizationAPIKey.objects.filter(pk=row.pk).update(expiry_date=timezone.now() - timedelta(seconds=1))


def delete(row):
    OrganizationAPIKey.objects.filter(pk=row.pk).delete()


@pytest.mark.parametrize("end", [revoke, expire, delete])
def test_a_key_that_opens_nothing_any_more_is_nobody(web, either_path, key, end):
    end(key[0])
    with web.program(either_path, key[1]) as socket:
        assert socket.code() == 4401


@pytest.mark.parametrize(
    "mangle",
    [
        lambda shown: shown[:-1] + ("a" if shown[-1] != "a" else "b"),
        lambda shown: shown.replace("Api-Key", "Bearer"),
        lambda shown: shown.removeprefix("Api-Key "),
        lambda shown: f"{shown}, {shown}",
        lambda shown: f"{shown}é",
        lambda shown: f"Api-Key {'x' * 5000}",
        lambda shown: "Api-Key",
    ],
)
def test_what_is_not_a_key_is_nobody_whoever_is_signed_in(web, alice, path, key, mangle):
    client = Client()
    client.force_login(alice)
    cookie = f"sessionid={client.session.session_key}"
    with web.program(path, mangle(key[1]), Cookie=cookie, Origin=f"http://{web.host}") as socket:
        assert socket.code() == 4401
    assert "Traceback" not in web.said()


def test_a_program_with_wrong_keys_is_told_to_wait_and_one_with_a_valid_key_beside_it_is_not(small_web, path, key):
    for number in range(130):  # 60 are allowed in a minute by the clock
        with small_web.program(path, f"Api-Key {number:08}.{'a' * 32}") as socket:
            if (code := socket.code()) == 4429:
                break
    cache.clear()  # else the other processes of these tests count on
    assert code == 4429
    with small_web.program(path, key[1]) as socket:
        assert socket.next()["type"] == "snapshot"


def test_a_key_counts_and_the_session_beside_it_does_not(web, staff, path, other_organization):
    client = Client()
    client.force_login(staff)
    cookie = f"sessionid={client.session.session_key}"
    with web.program(path, issue_key(other_organization)[1], Cookie=cookie, Origin=f"http://{web.host}") as socket:
        assert socket.code() == 4404


def test_a_program_hears_its_organization_and_no_other(web, dock, organization, other_organization, key):
    _, strangers = issue_key(other_organization)
    with (
        web.program(owner_path(organization), key[1]) as own,
        web.program(owner_path(other_organization), strangers) as other,
    ):
        own.next("snapshot"), other.next("snapshot")
        advance(make_call(dock), status="sent")
        broadcast.tell_account(dock)
        assert {own.next()["type"], own.next()["type"]} == {"service_call", "account"}
        assert other.within(1.0) == []


@pytest.mark.parametrize("end", [revoke, expire, delete])
def test_a_socket_ends_with_its_key(web, either_path, key, end):
    with web.program(either_path, key[1]) as socket:
        socket.next("snapshot")
        end(key[0])
        assert socket.code() == 4403


@pytest.mark.parametrize("end", [revoke, delete])
def test_a_program_is_told_that_its_key_ended(slow_web, either_path, key, end):
    with slow_web.program(either_path, key[1]) as socket:
        socket.next("snapshot")
        end(key[0])
        assert socket.code(timeout=20) == 4403


def test_a_key_revoked_before_a_hint_does_not_hear_it(web, dock, path, key):
    with web.program(path, key[1]) as socket:
        socket.next("snapshot")
        with transaction.atomic():
            revoke(key[0])
            broadcast.tell_licenses([dock])
        with pytest.raises(ConnectionClosed) as closed:
            socket.next("licenses")
        assert closed.value.rcvd.code == 4403


def test_the_program_in_the_documents_follows_an_organization(web, dock, organization, key):
    example = re.search("```python\n(.*?)\n# It does", (ROOT / "docs/live.md").read_text(), flags=re.DOTALL).group(1)
    exec(example, names := {})  # noqa: S102
    frames = names["follow"](f"ws://{web.host}{owner_path(organization)}", key[1].removeprefix("Api-Key "))
    assert next(frames)["type"] == "snapshot"
    broadcast.tell_device([dock])
    assert [next(frames)["type"], next(frames)["type"]] == ["device", "snapshot"]
    revoke(key[0])
    with pytest.raises(ConnectionClosed) as closed:
        next(frames)
    assert closed.value.rcvd.code == 4403


def test_a_program_is_closed_out_when_its_device_is_released(slow_web, dock, path, key):
    with slow_web.program(path, key[1]) as socket:
        socket.next("snapshot")
        binding.release([dock], actor=ACTOR)
        assert socket.code() == 4403


def test_a_key_is_noted_as_used_when_it_opens_a_socket_and_while_it_keeps_it(web, path, key):
    row, shown = key
    with web.program(path, shown) as socket:
        socket.next("snapshot")
        row.refresh_from_db()
        assert timezone.now() - row.last_used < timedelta(seconds=30)
        long_ago = timezone.now() - timedelta(minutes=5)
        OrganizationAPIKey.objects.update(last_used=long_ago)
        wait_for(lambda: OrganizationAPIKey.objects.get().last_used > long_ago)


def test_nothing_logs_a_key(web, path, key):
    for shown, code in ((key[1].replace("Api-Key", "Bearer"), 4401), (f"{key[1]}x", 4401), (key[1], 4400)):
        with web.program(path, shown) as socket:
            if code == 4400:
                socket.send("not understood")
            assert socket.code() == code
    assert path in web.said()
    assert key[1].partition(".")[2] not in web.said()


@pytest.mark.parametrize("end", [revoke, expire, delete])
def test_nobody_is_left_when_a_key_ends(key, end):
    from devices.live import subscription

    who = subscription.KeyHolder(key[1].removeprefix("Api-Key "))
    assert who() == key[0]
    end(key[0])
    assert not who().is_authenticated


def test_rights_of_a_key_are_read_with_few_queries_and_without_the_key(dock, key, django_assert_num_queries):
    from devices.live import subscription

    plain = key[1].removeprefix("Api-Key ")
    who = subscription.KeyHolder(plain)
    for expected in (3, 2):  # the first notes the use
        with django_assert_num_queries(expected):
            assert subscription.to_device(who(), dock.sn).device == dock
        assert plain not in repr(vars(who))


# --- what a browser may say ----------------------------------------------------------------------------


def test_refetch_gives_a_new_snapshot(web, alice, dock, path):
    with web.socket(path, alice) as socket:
        assert socket.next()["device"]["callsign"] == "Pier 7"
        Device.objects.update(callsign="Pier 8")
        socket.send({"type": "refetch"})
        assert socket.next()["device"]["callsign"] == "Pier 8"


def test_a_flood_of_refetches_costs_two_snapshots_a_second(web, alice, path):
    with web.socket(path, alice) as socket:
        socket.next("snapshot")
        began = time.monotonic()
        for _ in range(500):
            socket.send({"type": "refetch"})
        snapshots = [socket.next("snapshot"), *socket.within(1.2)]
        assert len(snapshots) <= 2 + 2 * (time.monotonic() - began)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "NaN",
        '"refetch"',
        "\x00",
        b"\xff\xfe",
        "[" * 1000,
        "9" * 1000,
        '{"type": "frames", "frames": []}',
        '{"type": "refetch", "sn": "DOCK0001"}',
        '{"type": ["refetch"]}',
        "x" * 60_000,
    ],
)
def test_hostile_text_closes_the_socket_and_nothing_else(web, alice, path, text):
    with web.socket(path, alice) as socket, web.socket(path, alice) as other:
        socket.next("snapshot"), other.next("snapshot")
        socket.send(text)
        assert socket.code() == 4400
        other.send({"type": "refetch"})
        assert other.next("snapshot")
    assert "Traceback" not in web.said()


def test_a_message_beyond_all_bounds_is_not_even_read(web, alice, path):
    with web.socket(path, alice) as socket:
        socket.send("x" * 1_000_000)
        assert socket.code() == 1009
    assert "Traceback" not in web.said()


def test_rights_are_read_with_few_queries_whatever_there_is(alice, dock, django_assert_num_queries):
    from devices.live import subscription

    client = Client()
    client.force_login(alice)
    for _ in range(30):
        make_call(dock, requested_by=alice, created=timezone.now())
    with django_assert_num_queries(3):
        view = subscription.to_device(subscription.user_of(client.session.session_key), dock.sn)
    with django_assert_num_queries(2):
        view.snapshot()


# --- how many -------------------------------------------------------------------------------------


def test_one_user_or_key_has_so_many_sockets_and_others_their_own(small_web, alice, staff, path, key):
    # After the wrong keys of another test it takes only those it knows, and looks every 5 seconds which there are.
    wait_for(lambda: opens(small_web.program(path, key[1])))
    with small_web.socket(path, alice) as first, small_web.socket(path, alice) as second:
        assert {first.next()["type"], second.next()["type"]} == {"snapshot"}
        with small_web.socket(path, alice) as third:
            assert third.code() == 4429
        with small_web.socket(path, staff) as other, small_web.program(path, key[1]) as program:
            assert {other.next()["type"], program.next()["type"]} == {"snapshot"}
    wait_for(lambda: opens(small_web.socket(path, alice)))


def test_a_process_takes_so_many_sockets_and_the_next_comes_again_later(small_web, alice, bob, staff, path):
    with contextlib.ExitStack() as stack:
        for user in (alice, alice, bob, bob, staff):
            assert stack.enter_context(small_web.socket(path, user)).next()["type"] == "snapshot"
        with small_web.socket(path, staff) as sixth:
            assert sixth.code() == 1013
    wait_for(lambda: opens(small_web.socket(path, staff)))


def test_who_is_not_known_takes_nobodys_place(small_web, alice, path):
    for _ in range(6):
        with small_web.socket(path) as stranger:
            assert stranger.code() == 4401
    with small_web.socket(path, alice) as own:
        assert own.next()["type"] == "snapshot"


def test_who_has_gone_before_the_handshake_ends_is_no_fault(small_web, path):
    host, port = small_web.host.split(":")
    hello = (
        f"GET {path} HTTP/1.1\r\nHost: {small_web.host}\r\nOrigin: http://{small_web.host}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    for _ in range(20):
        with socket.create_connection((host, int(port))) as gone:
            gone.sendall(hello.encode())
    wait_for(lambda: code_of(small_web, path) == 4401)  # 1013 while it has so many handshakes
    assert "Traceback" not in small_web.said()


def code_of(web, path):
    with web.socket(path) as stranger:
        return stranger.code()


def opens(socket):
    """Whether there is room for one more."""
    with socket as opened, contextlib.suppress(ConnectionClosed):
        return opened.next()["type"] == "snapshot"
    return False


def test_sockets_of_one_viewer_do_not_hold_up_the_first_frame_of_another(
    tmp_path, organization, dock, alice, bob, report
):
    """300 sockets with FAULT_FULL, which `make fault` sets."""
    number, calls = (300, 200) if os.environ.get("FAULT_FULL") else (60, 50)
    docks = Device.objects.bulk_create(
        Device(sn=f"DOCK1{n:03}", model_key="3-2-0", organization=organization) for n in range(calls)
    )
    for each in docks:
        make_call(each)
    path = owner_path(organization)
    client = Client()
    client.force_login(alice)
    snapshots, all_came = [], asyncio.Event()

    def first_frame(user):
        began = time.monotonic()
        with web.socket(path, user) as opened:
            assert len(opened.next("snapshot")["service_calls"]) == calls
            return time.monotonic() - began

    async def follow():
        cookie = {"Cookie": f"sessionid={client.session.session_key}"}
        address, origin = f"ws://{web.host}{path}", f"http://{web.host}"
        async with async_connect(address, origin=origin, additional_headers=cookie, open_timeout=60) as opened:
            await opened.recv()
            snapshots.append(time.monotonic())
            if len(snapshots) == number:
                all_came.set()
            await all_came.wait()

    async def follow_many():
        await asyncio.gather(*(follow() for _ in range(number)))

    with running_web(tmp_path / "log", SOCKETS_PER_CLIENT="300") as web:
        alone, began = first_frame(bob), time.monotonic()
        others = threading.Thread(target=asyncio.run, args=(follow_many(),))
        others.start()
        time.sleep(0.3)
        before = len(snapshots)
        beside, came = first_frame(bob), len(snapshots)
        others.join()
    report(
        f"first frame of another user: {alone:.2f} s alone, {beside:.2f} s beside {number} sockets, "
        f"whose snapshots came within {max(snapshots) - began:.1f} s"
    )
    assert came - before <= (number - before) / 2  # without turns he comes after all that asked before
