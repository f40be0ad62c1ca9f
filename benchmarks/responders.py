"""Programs that answer at once: `python -m benchmarks.responders echo|naive|docks MQTT_URL`.

The first two are what the bridge is measured against, and what one would write first with the same client library:
everything in paho's callback. The third is all docks together.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from mqtt_bridge.line.client import build_client, connect_properties, parse_url, subscriptions

BOUND = {"result": 0, "output": {"err_infos": [{"sn": "", "err_code": 0}, {"sn": "", "err_code": 0}]}}


def serve(url: str, channel: str, work: Callable[[dict[str, Any]], object]) -> None:
    """Answer every message on a channel at QoS 1 until killed; `work` returns the data of the answer."""
    address = parse_url(url)
    client = build_client(address, client_id="benchmark-responder")

    def answer(_client, _userdata, message):
        request = msgspec.json.decode(message.payload)
        reply = {
            "tid": request["tid"],
            "bid": request["bid"],
            "method": request["method"],
            "timestamp": int(time.time() * 1000),
            "data": work(request),
        }
        client.publish(f"{message.topic}_reply", msgspec.json.encode(reply), qos=1)

    client.on_message = answer
    client.on_connect = lambda *_: client.subscribe(subscriptions([f"thing/product/+/{channel}"], qos=1))
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect(address.host, address.port, properties=connect_properties(session_expiry=0, receive_maximum=512))
    client.loop_forever()


def echo(_request: dict[str, Any]) -> object:
    """No work at all."""
    return BOUND


def one_query(request: dict[str, Any]) -> object:
    """One ORM query per message: the least that a server without batches does."""
    from devices.models import Device

    sn = request["data"]["bind_devices"][0]["sn"]
    Device.objects.filter(sn=sn).select_related("organization").first()
    return BOUND


def switch_license(request: dict[str, Any]) -> object:
    """What a dock says that has switched a license, and of the list that is asked for after that."""
    return {"result": 0, "license_id": request["data"].get("license_id", 0)}


def main() -> None:
    """Serve as the first argument says."""
    kind, url = sys.argv[1:]
    if kind == "naive":
        import django

        django.setup()
    channel, work = {
        "echo": ("requests", echo),
        "naive": ("requests", one_query),
        "docks": ("services", switch_license),
    }[kind]
    serve(url, channel, work)


if __name__ == "__main__":
    main()
