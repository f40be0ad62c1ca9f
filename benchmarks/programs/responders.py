"""Programs that answer at once: `python -m benchmarks.programs.responders echo|naive|docks MQTT_URL`.

The first two are what the bridge is measured against: nothing but the wire, and what one would write first with the
same client library, everything in paho's callback. The third is all docks together.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from mqtt_bridge.line.client import build_client, connect_properties, parse_url, subscriptions

BOUND = {"result": 0, "output": {"err_infos": [{"sn": "", "err_code": 0}, {"sn": "", "err_code": 0}]}}
ASKED = ("thing/product/+/requests", "sys/product/+/status")
Work = Callable[[str, dict[str, Any]], object]  # serial number, request -> data of the answer


def serve(url: str, filters: tuple[str, ...], work: Work) -> None:
    """Answer every message at QoS 1 until killed."""
    address = parse_url(url)
    client = build_client(address, client_id="benchmark-responder")

    def answer(_client, _userdata, message):
        request = msgspec.json.decode(message.payload)
        reply = reply_to(request, work(message.topic.split("/")[2], request))
        client.publish(f"{message.topic}_reply", msgspec.json.encode(reply), qos=1)

    client.on_message = answer
    client.on_connect = lambda *_: client.subscribe(subscriptions(filters, qos=1))
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect(address.host, address.port, properties=connect_properties(session_expiry=0, receive_maximum=512))
    client.loop_forever()


def reply_to(request: dict[str, Any], data: object) -> dict[str, object]:
    """The whole answer to a request."""
    return {
        "tid": request["tid"],
        "bid": request["bid"],
        "method": request["method"],
        "timestamp": int(time.time() * 1000),
        "data": data,
    }


def echo(_sn: str, _request: dict[str, Any]) -> object:
    """No work at all."""
    return BOUND


def one_query(sn: str, _request: dict[str, Any]) -> object:
    """One ORM query per message: the least that a server without batches does."""
    from devices.models import Device

    Device.objects.filter(sn=sn).select_related("organization").first()
    return BOUND


def switch_license(_sn: str, request: dict[str, Any]) -> object:
    """What a dock says that has switched a license, and of the list that is asked for after that."""
    return {"result": 0, "license_id": request["data"].get("license_id", 0)}


def main() -> None:
    """Serve as the first argument says."""
    kind, url = sys.argv[1:]
    if kind == "naive":
        import django

        django.setup()
    filters, work = {
        "echo": (ASKED, echo),
        "naive": (ASKED, one_query),
        "docks": (("thing/product/+/services",), switch_license),
    }[kind]
    serve(url, filters, work)


if __name__ == "__main__":
    main()
