"""Django's registration of the app."""

from django.apps import AppConfig


class MqttBridgeConfig(AppConfig):
    name = "mqtt_bridge"
    verbose_name = "Bridge"

    def ready(self) -> None:
        from mqtt_bridge import checks  # noqa: F401  (registers them)
