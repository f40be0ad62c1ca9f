"""Whether the broker tells docks apart."""

from django.conf import settings


def is_kept() -> bool:
    """Whether this server keeps the broker's access list; that of the demo lets everybody in, which is no news."""
    return bool(getattr(settings, "MQTT_ADMIN_URL", "") or settings.MQTT_AUTH_SECRET)
