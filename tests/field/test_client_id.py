"""A second program that connects with the bridge's client id."""

from mqtt_bridge.line.client import build_client, parse_url


def test_the_log_says_who_took_the_client_id_and_what_to_do_and_the_bridge_comes_back(world):
    served = world.stack.served()
    address = parse_url(world.stack.broker.url)
    intruder = build_client(address, client_id="dock-cloud-bridge", clean_start=False)
    intruder.connect(address.host, address.port)
    intruder.loop_start()
    try:
        world.eventually(lambda: world.stack.served() > served)
    finally:
        intruder.disconnect()
        intruder.loop_stop()
    log = world.stack.log.read_text()
    assert "another client connected as 'dock-cloud-bridge'" in log
    assert "give each server its own MQTT_CLIENT_ID" in log
    assert world.bind((world.new_sn(), "3-3-0")) == [0]
