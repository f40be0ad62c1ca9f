"""The admin of devices and of the commands to them. Django imports this package, which registers its pages."""

from devices.admin import batches, calls, devices, exchanges

__all__ = ["batches", "calls", "devices", "exchanges"]
