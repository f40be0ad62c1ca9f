"""The warnings at the start about MQTT_LEAVE_METHODS."""

import pytest
from django.core.management.base import SystemCheckError

from mqtt_bridge.checks import left_methods
from mqtt_bridge.management.commands.run_mqtt_bridge import Command


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ([], []),
        (["storage_config_get", "file_upload_callback", "flight_areas_get"], []),
        (["config", "login_dji_account"], ["mqtt_bridge.W001", "mqtt_bridge.W001"]),
        (["update_topo", "services_reply"], ["mqtt_bridge.W002", "mqtt_bridge.W002"]),
        (["storage config", "*", "m" * 65], ["mqtt_bridge.E001"] * 3),
    ],
)
def test_setting_is_checked(settings, named, said):
    settings.MQTT_LEAVE_METHODS = frozenset(named)
    assert sorted(message.id for message in left_methods(None)) == said


def test_bridge_with_a_wrong_setting_does_not_start(settings):
    settings.MQTT_LEAVE_METHODS = frozenset(["storage config"])
    with pytest.raises(SystemCheckError):
        Command().check(tags=Command.requires_system_checks)
