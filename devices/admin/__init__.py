"""The admin of devices and of the commands to them. Django imports this package, which registers its pages."""

from devices.admin import batches, broker_accounts, calls, connections, devices, exchanges, grouping

__all__ = ["batches", "broker_accounts", "calls", "connections", "devices", "exchanges", "grouping"]
