"""What the bridge shows without a broker: labels that devices cannot make up, and figures that are read at a scrape."""

import pytest

from mqtt_bridge.bridge import _count_outcomes
from mqtt_bridge.dispatch import Decoded, Result
from mqtt_bridge.line.inbox import Delivery
from mqtt_bridge.models import Exchange
from mqtt_bridge.monitoring.metrics import BRIDGE, DROPS, Backlog, LiveFigures
from mqtt_bridge.protocol.envelope import Envelope
from mqtt_bridge.protocol.topics import Channel
from mqtt_bridge.router import label


@pytest.mark.parametrize(
    ("channel", "method", "shown"),
    [
        (Channel.REQUESTS, "config", "config"),
        (Channel.SERVICES_REPLY, "unlock_license_list", "unlock_license_list"),
        (Channel.EVENTS, "hms", "hms"),
        (Channel.EVENTS, "config", "other"),
        (Channel.REQUESTS, "made_up_1", "other"),
        (Channel.SERVICES_REPLY, "", "other"),
    ],
)
def test_a_method_that_nobody_knows_is_other(channel, method, shown):
    assert label(channel, method) == shown


def test_made_up_methods_make_no_series():
    def handled():
        return [sample for metric in BRIDGE.collect() for sample in metric.samples if "made_up" in str(sample.labels)]

    results = []
    for number in range(50):
        envelope = Envelope("t", "b", f"made_up_{number}", None, "", need_reply=False, data={})
        delivery = Delivery(topic=f"thing/product/SN{number}/events", payload=b"{}")
        decoded = Decoded(delivery, f"SN{number}", Channel.EVENTS, envelope=envelope)
        results.append(Result(decoded, Exchange.Outcome.QUARANTINED, f"data_invalid: field {number}"))
    _count_outcomes(results)
    assert handled() == []
    labels = {"channel": "events", "method": "other", "outcome": "quarantined"}
    assert BRIDGE.get_sample_value("bridge_handled_total", labels) >= 50
    assert BRIDGE.get_sample_value("bridge_quarantined_total", {"reason": "data_invalid"}) >= 50


def samples(figures):
    return {(one.name, *one.labels.values()): one.value for metric in figures.collect() for one in metric.samples}


def test_a_connection_shows_its_backlog_and_every_reason_to_drop_is_there_from_the_start():
    figures = LiveFigures()
    figures.counters = {"rate_limited": 3}
    figures.connect(lambda: Backlog(7, 70, 8, 9))
    assert samples(figures)["bridge_inbox_messages",] == 7
    assert samples(figures)["bridge_unacknowledged_messages",] == 8
    figures.connect(None)
    reasons = {key[1]: value for key, value in samples(figures).items() if key[0] == "bridge_dropped_total"}
    assert samples(figures)["bridge_inbox_messages",] == 0
    assert reasons == dict.fromkeys(DROPS, 0) | {"rate_limited": 3}
