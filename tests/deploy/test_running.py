"""The server as deploy/ describes it runs: from a first start to a command on a dock, over TLS, and to its end."""

import asyncio
import contextlib
import json
import signal
import ssl
import subprocess
import sys
import time

import psycopg
import pytest
import urllib3

from cloudapi.mqtt_routes import SIMULATED
from mqtt_bridge.line.tls import Certificates
from mqtt_bridge.simulator import commands
from mqtt_bridge.simulator.dock import Options
from mqtt_bridge.simulator.fleet import CredentialsFile, Fleet, run_in_thread
from tests.deploy.engine import Engine
from tests.deploy.site import HOST, ISSUE, PREPARE, Site, first_start, shell
from tests.stack import wait_for

pytestmark = pytest.mark.file_turns(2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory, tables):
    folder = tmp_path_factory.mktemp("deploy")
    engine = Engine(first_start(folder / "deploy"), folder / "scratch", tables)
    try:
        began = time.monotonic()
        engine.up()
        print(f"\n[deploy] {len(engine.services)} services started in {time.monotonic() - began:.1f} s")  # noqa: T201
        yield engine
        everything_ends_in_order(engine)
    finally:
        print(engine.logs())  # noqa: T201 - pytest shows it if a test failed
        engine.close()


def everything_ends_in_order(engine):
    """Not a test of its own: tests run in any order, and this is the last thing that can happen."""
    began = time.monotonic()
    engine.stop()
    print(f"\n[deploy] stopped in {time.monotonic() - began:.1f} s: {engine.codes}")  # noqa: T201
    codes = dict(engine.codes)
    # uvicorn ends in good order, and then by the signal that it got.
    assert codes.pop("web") in (0, -signal.SIGTERM), engine.said("web")
    assert set(codes) == set(engine.services) - {"web"}
    assert set(codes.values()) == {0}, codes


@pytest.fixture(scope="module")
def world(engine):
    """{code, key, enrolling: [user, secret]}: what an operator made, with the brokers in step."""
    return json.loads(shell(engine, PREPARE))


@pytest.fixture(scope="module")
def site(engine, world):
    return Site(engine, world["key"])


@contextlib.contextmanager
def dock(engine, world, credentials):
    """A simulated dock that comes in by enrolment and goes on as soon as the file has an account of its own."""
    commands.learn(SIMULATED)
    user, secret = world["enrolling"]
    main = f"mqtts://localhost:{engine.ports['mosquitto'][8883]}"
    trusted = Certificates(ca_file=str(engine.folder / "secrets/ca.crt"))
    fleet = Fleet(
        count=1,
        mqtt_url=main,
        enrolment_url=f"mqtts://{user}:{secret}@localhost:{engine.ports['enrolment'][8884]}",
        credentials=CredentialsFile(credentials, main),
        organization_id="12345678",
        binding_code=world["code"],
        options=Options(certificates=trusted, osd_rate=0, retry_delay=0.5, backoff=(0.1, 0.5)),
    )
    with run_in_thread(fleet) as loop:
        yield fleet.docks[0], loop


def test_a_dock_comes_in_by_enrolment_gets_its_own_account_and_obeys(engine, world, site, tmp_path, report):
    began, credentials = time.monotonic(), tmp_path / "credentials.csv"
    credentials.write_text("sn,username,password\n")
    with dock(engine, world, credentials) as (simulated, loop):
        wait_for(lambda: simulated.is_enrolled)
        own = shell(engine, ISSUE.format(sn=simulated.sn)).split()
        with credentials.open("a") as file:
            file.write(f"{simulated.sn},{','.join(own)}\n")
        wait_for(lambda: not simulated.is_enrolling)
        asyncio.run_coroutine_threadsafe(simulated.onboarded(60), loop).result()
        asked = {"device": simulated.sn, "method": "unlock_license_list", "data": {"device_model_domain": 3}}
        call = site.post("service-calls/", **asked)
        wait_for(lambda: not site.read(f"service-calls/{call['id']}/")["is_open"])
        ended = site.read(f"service-calls/{call['id']}/")
        assert ended["status"] == "succeeded", ended
    report(f"enrolment, own account, command: {time.monotonic() - began:.1f} s")


def test_the_proxy_shows_the_site_and_nothing_else(engine, site):
    assert json.loads(site.get("/readyz").data) == {"status": "ok", "bridge": "ok"}
    assert [site.get(path).status for path in ("/metrics", "/metrics/", "/mqtt/auth")] == [404, 404, 404]
    redirected = urllib3.request("GET", f"http://127.0.0.1:{engine.ports['proxy'][80]}/admin/", redirect=False,
                                 headers=site.headers, retries=False)  # fmt: skip
    assert (redirected.status, redirected.headers["Location"]) == (308, f"https://{HOST}/admin/")


def test_the_proxy_keeps_tokens_out_of_its_log(engine, site):
    for path in ("/welcome/s3cret-token/", "/license-files/s3cret-token/a.kmz", "/readyz?after=both"):
        site.get(path, Referer="https://docks.example.com/welcome/s3cret-token/", Authorization="Api-Key s3cret-key")
    wait_for(lambda: "after=both" in engine.said("proxy"))
    assert '"uri":"/welcome/***/"' in engine.said("proxy")
    assert '"uri":"/license-files/***/a.kmz"' in engine.said("proxy")
    assert "s3cret" not in engine.said("proxy")


def test_the_proxy_refuses_large_bodies_and_a_client_cannot_choose_its_address(engine, site):
    try:
        status = site.pool.request("POST", "/api/v1/service-calls/", body=b"x" * 4_000_000, headers=site.headers).status
    except urllib3.exceptions.HTTPError:
        status = 413  # the proxy hung up before all was sent
    assert status in (413, 502)  # Caddy 2.6 says the second; the server itself is not reached
    site.get("/readyz", **{"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"})  # else: a redirect to HTTPS
    assert site.get("/api/v1/devices/", **{"X-Forwarded-Proto": "http"}).status == 200


def test_inside_nothing_answers_without_a_password(engine):
    _code, said = engine.run("redis", ["redis-cli", "-h", "127.0.0.1", "-p", "6379", "keys", "*"])
    assert "NOAUTH" in said
    database = f"postgres://dock_cloud@127.0.0.1:{engine.ports['postgres'][5432]}/dock_cloud"
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(database)


def test_a_renewed_certificate_is_served_and_docks_stay_connected(engine):
    port = engine.ports["mosquitto"][8883]
    before = ssl.get_server_certificate(("127.0.0.1", port))
    command = [sys.executable, engine.folder / "first_start.py", "--host", HOST, "--renew"]
    subprocess.run(command, check=True, capture_output=True)
    engine.lay_out("mosquitto")
    engine.send("mosquitto", signal.SIGHUP)
    wait_for(lambda: ssl.get_server_certificate(("127.0.0.1", port)) != before)
    assert engine.is_running("mosquitto")


def test_the_brokers_are_in_step_and_the_checks_of_a_deployment_pass(engine):
    code, said = engine.run("mqtt-acl", ["python", "manage.py", "mqtt_acl", "--check"])
    assert (code, said.splitlines()[-1]) == (0, "The brokers are in step."), said
    code, said = engine.run("web", ["python", "manage.py", "check", "--deploy", "--fail-level", "WARNING"])
    assert code == 0, said
