"""What Django checks at the start: whether `settings.MQTT_LEAVE_METHODS` makes sense."""

import re

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from mqtt_bridge import router
from mqtt_bridge.protocol.topics import Channel

_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_OTHERS_SPEAK = (Channel.REQUESTS, Channel.EVENTS)
MQTT = "mqtt"  # a tag


@register(MQTT)
def left_methods(app_configs: object, **_options: object) -> list[CheckMessage]:
    """Refuse what is not a method name; warn of methods that this server needs, or that cannot be left to others."""
    table: router.Routes = router.tables(settings.MQTT_ROUTES).ROUTES
    handled = {method for (channel, method), route in table.items() if route.handler is not router.accepted and method}
    leavable = {method for channel, method in table if channel in _OTHERS_SPEAK}
    found: list[CheckMessage] = []
    for method in sorted(settings.MQTT_LEAVE_METHODS):
        if not _METHOD.fullmatch(method):
            hint = "Write DJI's names of requests and events, separated by commas."
            text = f"MQTT_LEAVE_METHODS: {method!r} is not a method name."
            found.append(Error(text, hint=hint, id="mqtt_bridge.E001"))
        elif method in handled & leavable:
            text = f"MQTT_LEAVE_METHODS leaves {method} to others: docks no longer get it from this server."
            hint = (
                "Without it docks are not onboarded, or commands do not end. Leave it only if another service does it."
            )
            found.append(Warning(text, hint=hint, id="mqtt_bridge.W001"))
        elif method in handled or method in {channel.value for channel in Channel}:
            text = f"MQTT_LEAVE_METHODS names {method}, which is neither a request nor an event: it has no effect."
            found.append(Warning(text, id="mqtt_bridge.W002"))
    return found
