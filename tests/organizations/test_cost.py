"""What a wrong code costs the gateway that sends it, beside its message."""

import json

import pytest

from mqtt_bridge import dispatch
from mqtt_bridge.line.inbox import Delivery

pytestmark = pytest.mark.django_db


def cost(method, data):
    said = {"tid": "t", "bid": "b", "timestamp": 1, "method": method, "data": data}
    delivery = Delivery(topic="thing/product/DOCK1/requests", payload=json.dumps(said).encode(), mid=1)
    return [item.cost for wave in dispatch.handle([delivery]) for item in wave.results]


def entries(*codes):
    bound = [
        {"sn": f"DOCK{number}", "device_binding_code": code, "organization_id": "12345678", "device_model_key": "3-3-0"}
        for number, code in enumerate(codes, 1)
    ]
    return {"bind_devices": bound}


def test_each_wrong_code_costs_extra_and_the_right_one_nothing(code):
    _, plain = code
    assert cost("airport_organization_bind", entries(plain)) == [0]
    assert cost("airport_organization_bind", entries("WRONGCODE1")) == [20]
    assert cost("airport_organization_bind", entries(plain, "WRONGCODE1", "WRONGCODE2")) == [40]


def test_asking_for_the_name_with_a_wrong_code_costs_the_same_even_when_locked_out(code):
    costs = [
        cost("airport_organization_get", {"organization_id": "12345678", "device_binding_code": f"WRONGCODE{number}"})
        for number in range(7)
    ]
    assert costs == [[20]] * 7
    right = {"organization_id": "12345678", "device_binding_code": code[1]}
    assert cost("airport_organization_get", right) == [20]  # locked out
