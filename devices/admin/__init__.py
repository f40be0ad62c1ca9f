"""The admin of devices and of what they are asked to do. Django imports this package, which registers its pages."""

from devices.admin import calls, devices, journal

__all__ = ["calls", "devices", "journal"]
