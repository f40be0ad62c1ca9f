"""A dock that accepts a login and then stays silent: over a real broker, Redis and worker."""

import pytest

from cloudapi.embedded.servers import Redis
from tests.field.world import World
from tests.stack import running_stack

LOGIN, LOGOUT = "login_dji_account", "logout_dji_account"
CREDENTIALS = {"username": "pilot@example.org", "password": "right"}


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def world(request, prepared, tmp_path_factory):
    """As of this folder, with a worker."""
    folder, template = tmp_path_factory.mktemp("login"), prepared(request.param)
    with running_stack(request.param, folder, template=template, redis=Redis()) as stack:
        stack.start_bridge()
        stack.start_worker(pool="solo", beat=False)
        world = World(stack)
        try:
            yield world
        finally:
            world.close()


@pytest.fixture
def dock(world):
    """A dock that is bound and online."""
    sn = world.new_sn()
    assert world.bind((sn, "3-3-0")) == [0]
    world.topology(sn)
    return sn


def ask(world, sn, method, data=None, status=(201,)):
    return world.post("service-calls/", {"device": sn, "method": method, "data": data or {}}, status=status)


def say(world, sn, call, status, channel="events"):
    """A step of the call as the dock tells it."""
    [(tid, bid)] = world.stack.rows(f"SELECT tid, bid FROM devices_servicecall WHERE id = '{key(world, call)}'")
    message = {"tid": tid, "bid": bid, "timestamp": 1700000000000, "gateway": sn, "method": call["method"]}
    world.say(f"thing/product/{sn}/{channel}", message | {"data": {"result": 0, "output": {"status": status}}})


def key(world, call):
    return call["id"].replace("-", "") if world.kind == "sqlite" else call["id"]


def is_now(world, call, status):
    return world.get(f"service-calls/{call['id']}/")["status"] == status


def account(world, sn):
    return world.get(f"devices/{sn}/", include="account")["account"]["status"]


def accepted(world, sn):
    """A login that the dock has accepted and says no more about."""
    call = ask(world, sn, LOGIN, CREDENTIALS)
    world.eventually(lambda: is_now(world, call, "sent"))
    say(world, sn, call, "in_progress", channel="services_reply")
    world.eventually(lambda: not is_now(world, call, "sent"))
    return call


def test_a_login_that_timed_out_is_unknown_until_the_dock_says_how_it_ended(world, dock):
    call = accepted(world, dock)
    past = f"UPDATE devices_servicecall SET deadline = '2020-01-01 00:00:00' WHERE id = '{key(world, call)}'"
    world.stack.rows(f"{past} RETURNING id")  # three minutes of silence
    world.eventually(lambda: is_now(world, call, "timed_out"))
    assert account(world, dock) == "unknown"
    assert "unknown: the dock may be logged in" in world.device_page(dock)
    say(world, dock, call, "ok")
    world.eventually(lambda: is_now(world, call, "succeeded"))
    assert account(world, dock) == "logged_in"


def test_a_logout_ends_a_login_that_makes_no_progress(world, dock):
    login = accepted(world, dock)
    ask(world, dock, LOGIN, CREDENTIALS, status=(409,))
    logout = ask(world, dock, LOGOUT)
    assert is_now(world, login, "canceled")
    assert "superseded by a logout" in world.device_page(dock)
    world.eventually(lambda: is_now(world, logout, "sent"))
    say(world, dock, logout, "ok")
    world.eventually(lambda: is_now(world, logout, "succeeded"))
    say(world, dock, login, "ok")  # too late, and of the past
    world.topology(dock)  # answered after it
    assert account(world, dock) == "logged_out"
