"""Servers that share a Redis receive none of each other's frames."""

import os

from django.conf import settings

from tests.devices.live.listener import Listener
from tests.fork_server import run

SEND = """
import django
django.setup()
from devices.live.frame_sender import Frame, FrameSender
sender = FrameSender()
sender.put([Frame("organization.1", '{"number": 1}')])
assert sender.close(5)
"""


def send_from_the_server_at(public_url):
    env = os.environ | {"PUBLIC_URL": public_url, "DJANGO_SETTINGS_MODULE": "cloudapi.settings"}
    assert run(["-c", SEND], env=env).returncode == 0


def test_frames_of_one_server_do_not_reach_another_that_shares_its_redis():
    with Listener("organization.1") as listener:
        send_from_the_server_at("https://staging.example.com")
        assert listener.heard(seconds=0.5) == []
        send_from_the_server_at(settings.PUBLIC_URL)
        assert listener.heard(1) == [{"number": 1}]
