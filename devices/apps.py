"""Django's registration of the app."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
    verbose_name = "Devices"

    def ready(self) -> None:
        from devices.live import revocation  # noqa: F401 - its receivers
