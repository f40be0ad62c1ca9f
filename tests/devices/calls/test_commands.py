"""Every service from a script to its end, over a real broker, Redis, worker and bridge, with a simulated dock."""

import asyncio
import itertools

import pytest

from cloudapi.embedded.servers import Redis
from mqtt_bridge.simulator.dock import Options
from mqtt_bridge.simulator.faults import Faults
from tests.stack import running_stack, wait_for

LIST, SWITCH, UPDATE = "unlock_license_list", "unlock_license_switch", "unlock_license_update"
LOGIN, LOGOUT = "login_dji_account", "logout_dji_account"
CREDENTIALS = {"username": "pilot@example.org", "password": "right"}
SILENCE = 2  # seconds, of a switch
PREFIXES = (f"CMD{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def stack(prepared, tmp_path_factory):
    folder, options = tmp_path_factory.mktemp("commands"), {"SERVICE_SILENCE": str(SILENCE)}
    with running_stack("postgresql", folder, template=prepared("postgresql"), redis=Redis(), **options) as stack:
        stack.start_bridge()
        stack.start_worker()
        yield stack


@pytest.fixture
def dock(stack):
    """A dock that is bound and online; `dock.faults` may be set."""
    with stack.fleet(sn_prefix=next(PREFIXES), options=Options(osd_rate=1), aircraft_on=True) as (fleet, loop):
        [dock] = fleet.docks
        wait_for(lambda: dock.is_onboarded)
        dock.loop = loop
        yield dock


def history(stack, call):
    sql = f"SELECT version, status FROM devices_servicecallevent WHERE call_id = '{call['id']}' ORDER BY version"
    rows = stack.rows(sql)
    assert [version for version, _ in rows] == list(range(1, len(rows) + 1))
    return [status for _, status in rows]


def account(stack, dock):
    sql = (
        "SELECT a.status, a.username, a.verification_code_url FROM devices_deviceaccount a"
        f" JOIN devices_device d ON d.id = a.device_id WHERE d.sn = '{dock.sn}'"
    )
    return stack.rows(sql)[0]


def result(stack, call):
    return stack.rows(f"SELECT result_code, result_text, output FROM devices_servicecall WHERE id = '{call['id']}'")[0]


@pytest.mark.parametrize("domain", [0, 3])
def test_licenses_are_listed(stack, dock, domain):
    call = stack.issue(dock.sn, LIST, {"device_model_domain": domain})
    assert stack.ended(call["id"]) == "succeeded"
    held = dock.licenses.imported if domain == 0 else dock.licenses.approved
    output = result(stack, call)[2]
    assert (output["licenses"], output["device_model_domain"], output["complete"]) == (len(held), domain, True)


def test_license_is_switched_in_the_dock(stack, dock):
    common = dock.licenses.imported[0]["common_fields"]
    before = common["enabled"]
    call = stack.issue(dock.sn, SWITCH, {"license_id": common["license_id"], "enable": not before})
    assert stack.ended(call["id"]) == "succeeded"
    assert dock.licenses.imported[0]["common_fields"]["enabled"] is not before


def test_licenses_are_updated_to_the_newest(stack, dock):
    assert len(dock.licenses.imported) < len(dock.licenses.approved)
    call = stack.issue(dock.sn, UPDATE)
    assert stack.ended(call["id"]) == "succeeded"
    assert len(dock.licenses.imported) == len(dock.licenses.approved)


def test_refusal_of_the_dock_is_kept_with_its_code(stack, dock):
    asyncio.run_coroutine_threadsafe(dock.switch_aircraft(False), dock.loop).result(10)
    call = stack.issue(dock.sn, SWITCH, {"license_id": 1, "enable": True})
    assert stack.ended(call["id"]) == "failed"
    assert result(stack, call)[0] > 0


def test_login_wants_a_code_gets_it_works_and_is_logged_out(stack, dock):
    first = stack.issue(dock.sn, LOGIN, CREDENTIALS)
    assert stack.ended(first["id"]) == "failed"
    assert account(stack, dock) == ("verification_required", "pilot@example.org", dock.account.verification_code_url)
    second = stack.issue(dock.sn, LOGIN, CREDENTIALS | {"verification_code": "123456"})
    assert stack.ended(second["id"]) == "succeeded"
    assert account(stack, dock) == ("logged_in", "pilot@example.org", "")
    assert dock.account.username == "pilot@example.org"
    assert stack.call(second["id"])[2] == 100
    assert history(stack, second) == ["queued", "sent", *["in_progress"] * 6, "succeeded"]
    assert stack.ended(stack.issue(dock.sn, LOGOUT)["id"]) == "succeeded"
    assert account(stack, dock) == ("logged_out", "", "")


def test_wrong_password_is_a_failure(stack, dock):
    call = stack.issue(dock.sn, LOGIN, CREDENTIALS | {"password": "wrong"})
    assert stack.ended(call["id"]) == "failed"
    assert account(stack, dock)[0] == "failed"


def test_nobody_answers_then_the_next_one_works(stack, dock):
    dock.faults = Faults(["silent"])
    switching = {"license_id": dock.licenses.imported[0]["common_fields"]["license_id"], "enable": True}
    call = stack.issue(dock.sn, SWITCH, switching)
    assert stack.issue(dock.sn, SWITCH, switching)["refused"] == "busy"
    assert stack.ended(call["id"]) == "timed_out"
    dock.faults = Faults()
    assert stack.ended(stack.issue(dock.sn, SWITCH, switching)["id"]) == "succeeded"


@pytest.mark.turns(2)
def test_late_reply_corrects_and_is_marked(stack, dock):
    dock.faults = Faults(["slow:9"])  # the deadline and a tick of the bridge's timer
    switching = {"license_id": dock.licenses.imported[0]["common_fields"]["license_id"], "enable": True}
    call = stack.issue(dock.sn, SWITCH, switching)
    assert stack.ended(call["id"]) == "timed_out"
    wait_for(lambda: stack.call(call["id"])[:2] == ("succeeded", True))
    assert history(stack, call) == ["queued", "sent", "timed_out", "succeeded"]


def test_reply_with_a_foreign_tid_changes_nothing(stack, dock):
    dock.faults = Faults(["foreign-tid"])
    call = stack.issue(dock.sn, LIST, {"device_model_domain": 3})
    reason = "SELECT reason FROM mqtt_bridge_exchange WHERE gateway_sn = '{}' AND channel = 'services_reply'"
    wait_for(lambda: stack.rows(reason.format(dock.sn)))
    assert stack.rows(reason.format(dock.sn)) == [("not a command of this server",)]
    assert stack.call(call["id"])[0] == "sent"


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        ("duplicate", "succeeded"),
        ("event-before-reply", "succeeded"),
        ("percent-backwards", "succeeded"),
        ("stripped", "succeeded"),
        ("after-restart", "succeeded"),
        ("ok-with-error", "failed"),
        ("rejected", "rejected"),
    ],
)
def test_login_to_a_dock_that_answers_badly_ends_truthfully(stack, dock, fault, end):
    dock.account.asks_for_code = False
    dock.faults = Faults([fault])
    call = stack.issue(dock.sn, LOGIN, CREDENTIALS)
    assert stack.ended(call["id"]) == end
    status = {"succeeded": "logged_in"}.get(end, "failed")
    assert account(stack, dock)[0] == status
    assert history(stack, call)[-1] == end


def test_command_to_a_dock_that_has_gone_is_refused_or_not_sent(stack, dock):
    asyncio.run_coroutine_threadsafe(dock.stop(), dock.loop).result(10)
    call = stack.issue(dock.sn, LIST, {"device_model_domain": 3})  # the server does not know it yet
    assert stack.ended(call["id"]) == "expired"
    assert result(stack, call)[1] == "the dock is not connected."


def test_command_that_waits_for_a_dock_that_has_gone_is_carried_out_once_when_it_is_back(stack, dock):
    asyncio.run_coroutine_threadsafe(dock.stop(), dock.loop).result(10)
    call = stack.issue(dock.sn, LIST, {"device_model_domain": 3}, queue=True)
    wait_for(lambda: result(stack, call)[1] == "the dock is not connected.")
    tried = f"SELECT retry_at - tried_at FROM devices_servicecall WHERE id = '{call['id']}'"
    wait_for(lambda: stack.rows(tried)[0][0].total_seconds() >= 10)  # in vain, for the second time
    assert history(stack, call) == ["queued", "queued"]
    dock.loop.call_soon_threadsafe(dock.start)
    assert stack.ended(call["id"]) == "succeeded"
    assert history(stack, call) == ["queued", "queued", "sent", "succeeded"]
