"""A client that sends what no dock would, and records the answers."""

import asyncio
import json
from contextlib import contextmanager

from mqtt_bridge.simulator.connection import Connection

REPLIES = ["thing/product/+/requests_reply", "thing/product/+/events_reply", "sys/product/+/status_reply"]


class Stranger:
    """One connection that may publish anything; `replies` maps (topic, tid) to the answers' `data`."""

    def __init__(self, url, loop):
        self.replies = {}
        self._loop = loop
        self._connection = Connection(url, client_id="stranger", topics=REPLIES, on_message=self._receive)

    def open(self):
        asyncio.run_coroutine_threadsafe(self._connection.open(), self._loop).result(timeout=60)

    def close(self):
        asyncio.run_coroutine_threadsafe(self._connection.close(), self._loop).result(timeout=60)

    def say(self, topic, payload, *, retain=False):
        """Publish at QoS 1 and wait until the broker has it."""
        publish = self._connection.publish(topic, payload, retain=retain)
        return asyncio.run_coroutine_threadsafe(publish, self._loop).result(timeout=60)

    def _receive(self, incoming):
        reply = json.loads(incoming.payload)
        self.replies[incoming.topic, reply["tid"]] = reply["data"]


@contextmanager
def stranger(stack, loop):
    """A connected stranger on the loop of a running fleet."""
    client = Stranger(stack.broker.url, loop)
    client.open()
    try:
        yield client
    finally:
        client.close()
