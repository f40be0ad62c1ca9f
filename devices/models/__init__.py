"""The rows: devices in `devices.py`, their accounts of the broker in `broker.py`, service calls in `calls.py`."""

from devices.models.broker import BrokerAccount, BrokerAccountQuerySet, DockConnection
from devices.models.calls import (
    OPEN_STATUSES,
    ServiceCall,
    ServiceCallBatch,
    ServiceCallEvent,
    ServiceCallQuerySet,
    ServiceCallSecret,
    in_a_minute,
    new_id,
)
from devices.models.devices import (
    SN_PATTERN,
    UNINVITED,
    UNKNOWN_STATE,
    Claim,
    Device,
    DeviceAccount,
    DeviceQuerySet,
    DeviceState,
    Pairing,
    Standing,
)

__all__ = [
    "OPEN_STATUSES",
    "SN_PATTERN",
    "UNINVITED",
    "UNKNOWN_STATE",
    "BrokerAccount",
    "BrokerAccountQuerySet",
    "Claim",
    "Device",
    "DeviceAccount",
    "DeviceQuerySet",
    "DeviceState",
    "DockConnection",
    "Pairing",
    "ServiceCall",
    "ServiceCallBatch",
    "ServiceCallEvent",
    "ServiceCallQuerySet",
    "ServiceCallSecret",
    "Standing",
    "in_a_minute",
    "new_id",
]
