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

PUBLISH_QOS1 = 0x32
PUBACK = 4
PUBLISH = 3
BINDS = "thing/product/+/requests_reply"
SERVICES = "thing/product/+/services_reply"


@dataclass(frozen=True)
class Result:
    """What one run showed: answers per second, median and 95th percentile of the round trips in milliseconds."""

    rate: float
    p50_ms: float
    p95_ms: float


def bind_requests(count: int, *, prefix: str, organization_id: str, code: str) -> list[tuple[str, bytes]]:
    """(topic, payload) of first binds: each a dock with its aircraft that nobody heard of before."""
    return [
        (
            f"thing/product/{prefix}{number}/requests",
            json.dumps(
                {
                    "tid": f"{prefix}-{number}",
                    "bid": f"{prefix}-{number}",
                    "timestamp": 1654070968655,
                    "method": "airport_organization_bind",
                    "data": {
                        "bind_devices": [
                            _entry(f"{prefix}{number}", "3-1-0", organization_id, code),
                            _entry(f"{prefix}{number}A", "0-67-0", organization_id, code),
                        ]
                    },
                }
            ).encode(),
        )
        for number in range(count)
    ]


def service_requests(count: int, *, prefix: str) -> list[tuple[str, bytes]]:
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
    """One connection that sends requests and counts their answers, which come on the topics `replies`."""

    def __init__(self, host: str, port: int, *, replies: str) -> None:
        self._socket = socket.create_connection((host, port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._prefix = b""
        client_id = b"benchmark-load"
        self._send(0x10, b"\x00\x04MQTT\x04\x02\x00\x00" + _text(client_id))
        self._read_packet()
        self._send(0x82, b"\x00\x01" + _text(replies.encode()) + b"\x01")
        self._read_packet()

    def close(self) -> None:
        """Disconnect."""
        self._socket.sendall(b"\xe0\x00")
        self._socket.close()

    def run(self, requests: Sequence[tuple[str, bytes]], *, in_flight: int) -> Result:
        """Send all requests, never more than `in_flight` unanswered; returns when the last answer is in."""
        packets = [_publish(number, topic, payload) for number, (topic, payload) in enumerate(requests)]
        self._prefix = requests[0][0].split("/")[2].rstrip("0123456789").encode()  # not what others left behind
        round_trips = []
        sent_at: list[float] = []
        answered = 0
        began = time.perf_counter()
        while answered < len(packets):
            window = packets[len(sent_at) : answered + in_flight]
            if window:
                self._socket.sendall(b"".join(window))
                sent_at += [time.perf_counter()] * len(window)
            arrived = self._collect_answers()
            now = time.perf_counter()
            round_trips += [now - sent_at[position] for position in range(answered, answered + arrived)]
            answered += arrived
        elapsed = time.perf_counter() - began
        p95 = sorted(round_trips)[len(round_trips) * 95 // 100]
        return Result(rate=len(packets) / elapsed, p50_ms=median(round_trips) * 1000, p95_ms=p95 * 1000)

    def _collect_answers(self) -> int:
        """Wait for at least one answer; acknowledges what arrives."""
        arrived = 0
        while not arrived:
            self._receive()
            acknowledgements = bytearray()
            for kind, body in self._packets():
                if kind == PUBLISH:
                    arrived += self._prefix in body
                    topic_length = struct.unpack_from("!H", body)[0]
                    acknowledgements += b"\x40\x02" + body[2 + topic_length : 4 + topic_length]
            if acknowledgements:
                self._socket.sendall(acknowledgements)
        return arrived

    def _receive(self) -> None:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the broker closed the connection")
        self._buffer += data

    def _read_packet(self) -> tuple[int, bytes]:
        while True:
            for packet in self._packets():
                return packet
            self._receive()

    def _packets(self) -> Iterator[tuple[int, bytes]]:
        """The complete packets in the buffer, as (type, body)."""
        position = 0
        try:
            while position + 2 <= len(self._buffer):
                length, start = self._length(position + 1)
                if start + length > len(self._buffer):
                    return
                kind, body = self._buffer[position] >> 4, bytes(self._buffer[start : start + length])
                position = start + length
                yield kind, body
        finally:
            del self._buffer[:position]

    def _length(self, position: int) -> tuple[int, int]:
        length = shift = 0
        while position < len(self._buffer):
            byte = self._buffer[position]
            position += 1
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                return length, position
            shift += 7
        return 1 << 30, position  # incomplete

    def _send(self, header: int, body: bytes) -> None:
        self._socket.sendall(bytes([header]) + _varint(len(body)) + body)


def _text(text: bytes) -> bytes:
    return struct.pack("!H", len(text)) + text


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, byte = number >> 7, number & 0x7F
        encoded.append(byte | (0x80 if number else 0))
        if not number:
            return bytes(encoded)


def _publish(number: int, topic: str, payload: bytes) -> bytes:
    body = _text(topic.encode()) + struct.pack("!H", number % 65535 + 1) + payload
    return bytes([PUBLISH_QOS1]) + _varint(len(body)) + body
