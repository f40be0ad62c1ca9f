"""Commands over REST while Redis hangs: a real web process with few threads."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest
from django.utils import timezone

from cloudapi.embedded.servers import Redis
from devices.models import Device, DeviceState, ServiceCall
from tests.web import running_web

ASKED = """{{"device": "D{}", "method": "unlock_license_list", "data": {{"device_model_domain": 0}}}}"""
CALLS = 16


@pytest.fixture
def web(tmp_path, db, hung_redis):
    with running_web(tmp_path / "log", REDIS_URL=hung_redis.url, WEB_THREADS="2") as web:
        yield web


@pytest.fixture
def hung_redis():
    with Redis() as redis:
        redis.freeze()
        yield redis
        redis.thaw()


@pytest.mark.django_db(transaction=True)
def test_many_commands_at_once_do_not_wait_for_it_in_turn(web, organization, manager_key):
    for number in range(CALLS + 1):
        dock = Device.objects.create(sn=f"D{number}", model_key="3-2-0", organization=organization)
        DeviceState.objects.create(device=dock, online=True, last_seen=timezone.now())
    headers = {"Authorization": f"Api-Key {manager_key.plain}", "Content-Type": "application/json"}

    def ask(number):
        with closing(HTTPConnection(web.host, timeout=60)) as connection:
            connection.request("POST", "/api/v1/service-calls/", ASKED.format(number), headers)
            with connection.getresponse() as response:
                return response.status

    began = time.monotonic()
    assert ask(0) == 201
    alone = time.monotonic() - began  # the 2 s that Redis may take, and what the machine takes
    began = time.monotonic()
    with ThreadPoolExecutor(CALLS) as clients:
        assert set(clients.map(ask, range(1, CALLS + 1))) == {201}
    assert time.monotonic() - began < CALLS / 4 * alone  # each would hold one of two threads: half of CALLS in turn
    assert ServiceCall.objects.count() == CALLS + 1
