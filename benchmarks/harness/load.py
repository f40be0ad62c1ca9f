"""A load generator that costs little: MQTT 3.1.1 over a plain socket, packets made in advance.

It shares two cores with what it measures, so it must not be what is measured: paho would take more time to
send a request than the bridge takes to answer it.
"""

import json
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

CONNACK, PUBLISH, SUBACK = 2, 3, 9
BINDS = "thing/product/+/requests_reply"
TOPOLOGIES = "sys/product/+/status_reply"
SERVICES = "thing/product/+/services_reply"
Request = tuple[str, bytes]  # topic and payload


@dataclass(frozen=True)
class Result:
    """What one run showed: answers per second, median and 95th percentile of the round trips in milliseconds."""

    rate: float
    p50_ms: float
    p95_ms: float
    cpu: float  # seconds of a processor that the generator used


def bind_requests(count: int, *, prefix: str, organization_id: str, code: str) -> list[Request]:
    """First binds: each of a dock with its aircraft, both unknown before."""
    docks = [f"{prefix}{number}" for number in range(count)]
    return binds(docks, [f"{sn}A" for sn in docks], organization_id=organization_id, code=code)


def binds(docks: Sequence[str], aircraft: Sequence[str], *, organization_id: str, code: str) -> list[Request]:
    """A bind of each dock with its aircraft."""
    return [
        request(
            sn,
            "airport_organization_bind",
            {
                "bind_devices": [
                    _entry(sn, "3-1-0", organization_id, code),
                    _entry(carried, "0-67-0", organization_id, code),
                ]
            },
        )
        for sn, carried in zip(docks, aircraft, strict=True)
    ]


def bind_status(sn: str, aircraft: str) -> Request:
    """Whether a dock and its aircraft are bound."""
    return request(sn, "airport_bind_status", {"devices": [{"sn": aircraft}, {"sn": sn}]})


def config(sn: str) -> Request:
    """The question for the license."""
    return request(sn, "config", {"config_type": "json", "config_scope": "product"})


def update_topo(sn: str, aircraft: str) -> Request:
    """The topology of a dock with its aircraft switched on."""
    opaque = {"device_secret": "secret", "nonce": "nonce", "thing_version": "1.1.2"}
    carried = {"sn": aircraft, "domain": "0", "type": 67, "sub_type": 0, "index": "A", **opaque}
    data = {"domain": "3", "type": 1, "sub_type": 0, **opaque, "sub_devices": [carried]}
    return f"sys/product/{sn}/status", request(sn, "update_topo", data)[1]


def request(sn: str, method: str, data: dict[str, object]) -> Request:
    """A request of a dock."""
    body = {"tid": f"{method}-{sn}", "bid": f"{method}-{sn}", "timestamp": 1654070968655, "method": method}
    return f"thing/product/{sn}/requests", json.dumps(body | {"data": data}).encode()


def service_requests(count: int, *, prefix: str) -> list[Request]:
    """(topic, payload) of commands to docks, one each."""
    data = {"license_id": 240330, "enable": True}
    return [
        (f"thing/product/{prefix}{number}/services", json.dumps(_service(f"{prefix}-{number}", data)).encode())
        for number in range(count)
    ]


def _service(tid: str, data: dict[str, object]) -> dict[str, object]:
    return {"tid": tid, "bid": tid, "timestamp": 1654070968655, "method": "unlock_license_switch", "data": data}


def _entry(sn: str, model_key: str, organization_id: str, code: str) -> dict[str, str]:
    return {
        "device_binding_code": code,
        "organization_id": organization_id,
        "device_callsign": f"callsign of {sn}",
        "sn": sn,
        "device_model_key": model_key,
    }


class LoadClient:
    """One connection that sends requests and counts their answers, which come on the topics `replies`.

    Raises TimeoutError when no answer comes for a minute.
    """

    def __init__(self, host: str, port: int, *, replies: str | tuple[str, ...]) -> None:
        self._socket = socket.create_connection((host, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._prefix = b""
        self._socket.sendall(packet(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + text(b"benchmark-load")))
        self._await(CONNACK)
        filters = (replies,) if isinstance(replies, str) else replies
        self._socket.sendall(packet(0x82, b"\x00\x01" + b"".join(text(one.encode()) + b"\x01" for one in filters)))
        self._await(SUBACK)

    def close(self) -> None:
        """Disconnect."""
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()

    def run(self, requests: Sequence[Request], *, in_flight: int) -> Result:
        """Send all requests, never more than `in_flight` unanswered; returns when the last answer is in."""
        ready = [publish(number, topic, payload) for number, (topic, payload) in enumerate(requests)]
        self._prefix = requests[0][0].split("/")[2].rstrip("0123456789").encode()  # not what others left behind
        round_trips = []
        sent_at: list[float] = []
        answered = 0
        began, cpu = time.perf_counter(), time.process_time()
        while answered < len(ready):
            window = ready[len(sent_at) : answered + in_flight]
            if window:
                self._socket.sendall(b"".join(window))
                sent_at += [time.perf_counter()] * len(window)
            arrived = self._collect_answers()
            now = time.perf_counter()
            round_trips += [now - sent_at[position] for position in range(answered, answered + arrived)]
            answered += arrived
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
        p95 = sorted(round_trips)[len(round_trips) * 95 // 100]
        rate = len(ready) / elapsed
        return Result(rate=rate, p50_ms=median(round_trips) * 1000, p95_ms=p95 * 1000, cpu=cpu)

    def send(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0."""
        self._socket.sendall(publish(None, topic, payload))

    def _collect_answers(self) -> int:
        """Wait for at least one answer; acknowledges what arrives."""
        arrived = 0
        while not arrived:
            self._receive()
            acknowledgements = bytearray()
            for kind, body in packets(self._buffer):
                if kind == PUBLISH:
                    arrived += self._prefix in body
                    acknowledgements += acknowledgement(body)
            if acknowledgements:
                self._socket.sendall(acknowledgements)
        return arrived

    def _receive(self) -> None:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the broker closed the connection")
        self._buffer += data

    def _await(self, wanted: int) -> None:
        """Read until this kind of packet has come."""
        while True:
            for kind, _ in packets(self._buffer):
                if kind == wanted:
                    return
            self._receive()


# --- packets of MQTT 3.1.1 -------------------------------------------------------------------------


def packets(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """The complete packets in the buffer, as (type, body); they are taken out of it."""
    position = 0
    try:
        while position + 2 <= len(buffer):
            length, start = _length(buffer, position + 1)
            if start + length > len(buffer):
                return
            kind, body = buffer[position] >> 4, bytes(buffer[start : start + length])
            position = start + length
            yield kind, body
    finally:
        del buffer[:position]


def packet(header: int, body: bytes) -> bytes:
    """A whole packet, its length written by MQTT's rule: seven bits a byte."""
    length, left = bytearray(), len(body)
    while True:
        left, byte = left >> 7, left & 0x7F
        length.append(byte | (0x80 if left else 0))
        if not left:
            return bytes([header]) + bytes(length) + body


def publish(number: int | None, topic: str, payload: bytes) -> bytes:
    """PUBLISH at QoS 1 with a packet id made of the number, at QoS 0 without one."""
    if number is None:
        return packet(0x30, text(topic.encode()) + payload)
    return packet(0x32, text(topic.encode()) + struct.pack("!H", number % 65535 + 1) + payload)


def acknowledgement(body: bytes) -> bytes:
    """PUBACK of a PUBLISH at QoS 1."""
    topic_length = struct.unpack_from("!H", body)[0]
    return b"\x40\x02" + body[2 + topic_length : 4 + topic_length]


def text(content: bytes) -> bytes:
    """A text with its length before it."""
    return struct.pack("!H", len(content)) + content


def _length(buffer: bytearray, position: int) -> tuple[int, int]:
    length = shift = 0
    while position < len(buffer):
        byte = buffer[position]
        position += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return length, position
        shift += 7
    return 1 << 30, position  # incomplete
