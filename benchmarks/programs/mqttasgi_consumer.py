"""The same work as a consumer of mqttasgi: `python -m benchmarks.programs.mqttasgi_consumer MQTT_URL`.

mqttasgi is not one of our packages: `make bench` puts it under .cache, and `FOLDER` has to be in PYTHONPATH.
"""

import json
import sys
from typing import Any

import django

from benchmarks.harness.processes import ROOT
from benchmarks.programs.responders import ASKED, BOUND, reply_to
from mqtt_bridge.line.client import parse_url

FOLDER = ROOT / ".cache" / "mqttasgi"


def serve(url: str) -> None:
    """Answer every message until killed."""
    django.setup()
    from mqttasgi.consumers import MqttConsumer
    from mqttasgi.server import Server

    from devices.models import Device

    class Consumer(MqttConsumer):  # type: ignore[misc]
        async def connect(self) -> None:
            for one in ASKED:
                await self.subscribe(one, 1)
            print("ready", flush=True)

        async def receive(self, mqtt_message: dict[str, Any]) -> None:
            topic, request = mqtt_message["topic"], json.loads(mqtt_message["payload"])
            await Device.objects.filter(sn=topic.split("/")[2]).select_related("organization").afirst()
            await self.publish(f"{topic}_reply", json.dumps(reply_to(request, BOUND)), qos=1)

    address = parse_url(url)
    Server(Consumer.as_asgi(), address.host, address.port, client_id="benchmark-mqttasgi").run()


if __name__ == "__main__":
    serve(sys.argv[1])
