"""Django's registration of the app."""

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.utils.translation import gettext_lazy as _


class MqttBridgeConfig(AppConfig):
    name = "mqtt_bridge"
    verbose_name = _("Bridge")

    def ready(self) -> None:
        from mqtt_bridge import checks  # noqa: F401  (registers them)
        from mqtt_bridge.database.natural_sort import add_to_sqlite

        connection_created.connect(add_to_sqlite)
