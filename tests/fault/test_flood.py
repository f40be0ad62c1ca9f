"""One dock floods the bridge, another wants to be heard (RELIABILITY.md §4, test 9)."""

import asyncio
import json
import socket
import struct
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from mqtt_bridge import rate_limit
from mqtt_bridge.simulator import onboarding
from mqtt_bridge.simulator.dock import Patience
from tests.fault.altered_bridge import command
from tests.fault.load import QUIET, size
from tests.stack import wait_for

pytestmark = pytest.mark.fault

FLOOD = 2_000  # messages per second
SECONDS = size(3, 10)  # of each flood
ASKED = 100  # requests of the other dock during each flood
FLOODER = "FLOODER"


class Flooder:
    """MQTT 3.1.1 over a plain socket: packets made in advance cost the two cores nothing that would be measured."""

    def __init__(self, url):
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port), timeout=10)
        self._socket.sendall(packet(0x10, text("MQTT") + b"\x04\x02\x00\x00" + text(FLOODER)))
        self._socket.recv(4)

    def flood(self, topic, payload, *, qos, seconds):
        """Publish FLOOD messages per second at this rate, whatever the broker says; returns how many."""
        body = [text(topic) + (struct.pack("!H", mid + 1) if qos else b"") + payload for mid in range(FLOOD)]
        packets = [packet(0x30 | qos << 1, one) for one in body]
        self._socket.setblocking(True)
        threading.Thread(target=self._drain, daemon=True).start()
        start, sent = time.monotonic(), 0
        while sent < FLOOD * seconds:
            due = min(int((time.monotonic() - start) * FLOOD), FLOOD * seconds)
            self._socket.sendall(b"".join(packets[number % FLOOD] for number in range(sent, due)))
            sent = due
            time.sleep(0.005)
        return sent

    def _drain(self):
        while self._socket.recv(65_536):
            pass

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def text(value):
    return struct.pack("!H", len(value)) + value.encode()


def packet(kind, body):
    length, digits = len(body), bytearray()
    while True:
        digits.append(length % 128 | (0x80 if length > 127 else 0))
        length //= 128
        if not length:
            return bytes([kind]) + digits + body
