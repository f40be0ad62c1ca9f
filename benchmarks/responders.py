"""What the bridge is measured against: `python -m benchmarks.responders echo|naive MQTT_URL`.

Both are what one would write first with the same client library: everything in paho's callback.
"""

import sys
import time
from collections.abc import Callable

import msgspec

from mqtt_bridge.client import build_client, connect_properties, parse_url, subscriptions

ANSWER = {"result": 0, "output": {"err_infos": [{"sn": "", "err_code": 0}, {"sn": "", "err_code": 0}]}}


def serve(url: str, work: Callable[[dict], None]) -> None:
    """Answer every request at QoS 1 until killed; `work` is what is done for each."""
    address = parse_url(url)
    client = build_client(address, client_id="benchmark-responder")

    def answer(_client, _userdata, message):
        request = msgspec.json.decode(message.payload)
        work(request)
        reply = {
            "tid": request["tid"],
            "bid": request["bid"],
            "method": request["method"],
            "timestamp": int(time.time() * 1000),
            "data": ANSWER,
        }
        client.publish(f"{message.topic}_reply", msgspec.json.encode(reply), qos=1)

    client.on_message = answer
    client.on_connect = lambda *_: client.subscribe(subscriptions(["thing/product/+/requests"], qos=1))
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.connect(address.host, address.port, properties=connect_properties(session_expiry=0, receive_maximum=512))
    client.loop_forever()


def one_query(request: dict) -> None:
    """One ORM query per message: the least that a server without batches does."""
    from devices.models import Device

    sn = request["data"]["bind_devices"][0]["sn"]
    Device.objects.filter(sn=sn).select_related("organization").first()


def main() -> None:
    """Serve as the first argument says."""
    kind, url = sys.argv[1:]
    if kind == "naive":
        import django

        django.setup()
        serve(url, one_query)
    serve(url, lambda _request: None)


if __name__ == "__main__":
    main()
