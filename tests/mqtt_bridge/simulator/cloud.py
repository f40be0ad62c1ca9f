"""The cloud's side of the protocol, played by hand from the examples in tests/samples."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from mqtt_bridge.simulator.connection import Connection, Incoming

Json = dict[str, Any]

ORGANIZATION = "12345678"
CODE = "ABCDEFGH2345"
LICENSE = {
    "app_id": "123456",
    "app_key": "key",
    "app_license": "license",
    "ntp_server_host": "pool.ntp.org",
    "ntp_server_port": 123,
}
CHANNELS = ("requests", "events", "services_reply", "property/set_reply", "osd", "state", "status")


async def until(question: Callable[[], bool], seconds: float = 20) -> None:
    """Look every few milliseconds, for at most so many seconds."""
    async with asyncio.timeout(seconds):
        while not question():  # noqa: ASYNC110 - what is asked has no event
            await asyncio.sleep(0.005)


class Cloud:
    """Answers every dock; a test may replace the answer to a method, or hear nothing and say nothing.

    `answers[method](message)` returns the reply's `data`, or None for silence; `change(reply)` may spoil what
    goes out. `heard` holds (topic, payload bytes) in order.
    """

    def __init__(self, url: str) -> None:
        topics = ["sys/product/+/status", *(f"thing/product/+/{channel}" for channel in CHANNELS)]
        self.connection = Connection(url, client_id=f"cloud-{uuid.uuid4()}", topics=topics, on_message=self._hear)
        self.bound: dict[str, Json] = {}
        self.heard: list[tuple[str, bytes]] = []
        self.change: Callable[[Json], Json] = lambda reply: reply
        self.answers: dict[str, Callable[[Json], Json | None]] = {
            "config": lambda _message: {"result": 0, **LICENSE},
            "airport_bind_status": self._bind_status,
            "airport_organization_get": self._organization_get,
            "airport_organization_bind": self._bind,
            "update_topo": lambda _message: {"result": 0},
        }

    async def __aenter__(self) -> "Cloud":
        await self.connection.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.connection.close()

    def messages(self, channel: str, method: str = "") -> list[Json]:
        """What was heard on a channel, decoded."""
        decoded = [json.loads(payload) for topic, payload in self.heard if topic.endswith(f"/{channel}")]
        return [message for message in decoded if method in ("", message.get("method"))]

    async def wait_for(self, channel: str, *, count: int = 1, method: str = "", seconds: float = 20) -> list[Json]:
        """The first `count` messages of a channel, once they are there."""
        await until(lambda: len(self.messages(channel, method)) >= count, seconds)
        return self.messages(channel, method)

    async def command(self, sn: str, method: str, data: Any, **others: Any) -> Json:
        """Send a command and return it."""
        message = {
            "tid": str(uuid.uuid4()),
            "bid": str(uuid.uuid4()),
            "timestamp": time.time_ns() // 1_000_000,
            "gateway": sn,
            "method": method,
            "data": data,
        }
        message |= others
        await self.connection.publish(f"thing/product/{sn}/services", json.dumps(message).encode())
        return message

    def _hear(self, incoming: Incoming) -> None:
        self.heard.append((incoming.topic, incoming.payload))
        if not incoming.topic.endswith(("/requests", "/events", "/status")):
            return
        try:
            message = json.loads(incoming.payload)
        except ValueError:
            return
        if incoming.topic.endswith("/events") and not message.get("need_reply"):
            return
        method = message.get("method", "")
        data = self.answers.get(method, lambda _message: {"result": 0})(message)
        if data is not None:
            self.reply(incoming.topic, message, data)

    def reply(self, topic: str, message: Json, data: Any) -> None:
        """Answer a message."""
        reply = {
            "tid": message["tid"],
            "bid": message.get("bid", ""),
            "timestamp": time.time_ns() // 1_000_000,
            "method": message.get("method"),
            "data": data,
        }
        payload = json.dumps(self.change(reply)).encode()
        self.connection.send(f"{topic}_reply", payload)

    def _bind_status(self, message: Json) -> Json:
        entries = [
            {
                "sn": device["sn"],
                "is_device_bind_organization": device["sn"] in self.bound,
                "organization_id": ORGANIZATION if device["sn"] in self.bound else "",
                "organization_name": "Alice's" if device["sn"] in self.bound else "",
                "device_callsign": self.bound.get(device["sn"], {}).get("device_callsign", ""),
            }
            for device in message["data"]["devices"]
        ]
        return {"result": 0, "output": {"bind_status": entries}}

    def _organization_get(self, message: Json) -> Json:
        if _is_right(message["data"]):
            return {"result": 0, "output": {"organization_name": "Alice's"}}
        return {"result": 210230, "output": {}}

    def _bind(self, message: Json) -> Json:
        infos = []
        for device in message["data"]["bind_devices"]:
            code = 0 if _is_right(device) else 210231
            if code == 0:
                self.bound[device["sn"]] = device
            infos.append({"sn": device["sn"], "err_code": code})
        return {"result": 0, "output": {"err_infos": infos}}


def _is_right(entry: Json) -> bool:
    return entry["organization_id"] == ORGANIZATION and entry["device_binding_code"] == CODE
