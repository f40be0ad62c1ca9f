"""The bridge's own ping, sent by somebody else."""

import queue

from paho.mqtt.client import CallbackAPIVersion, Client

from mqtt_bridge.line.client import parse_url


def test_a_ping_that_is_sent_again_by_somebody_else_writes_no_heartbeat(world):
    pings = queue.Queue()
    eavesdropper = Client(CallbackAPIVersion.VERSION2)
    eavesdropper.on_connect = lambda client, *_: client.subscribe("bridge/+/ping")
    eavesdropper.on_message = lambda _client, _userdata, message: pings.put(message)
    address = parse_url(world.stack.broker.url)
    eavesdropper.connect(address.host, address.port)
    eavesdropper.loop_start()
    ping = pings.get(timeout=60)
    eavesdropper.disconnect()
    eavesdropper.loop_stop()

    def last_beat():
        world.ask("PINGED", "requests", "config", {"config_type": "json", "config_scope": "product"})
        return world.stack.rows("SELECT beat_at FROM mqtt_bridge_heartbeat")

    before = last_beat()
    world.say(ping.topic, ping.payload)
    assert last_beat() == before
