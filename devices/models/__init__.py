"""The rows: devices in `devices.py`, their accounts of the broker in `broker.py`, service calls in `calls.py`.

What devices reported last is in `state.py`, sites and labels in `grouping.py`, known problems in `acknowledgements.py`.
"""

from devices.models.acknowledgements import Acknowledgement
from devices.models.broker import BrokerAccount, BrokerAccountQuerySet, DockConnection
from devices.models.calls import (
    LONGEST_PAUSE,
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
    Claim,
    Device,
    DeviceQuerySet,
    Pairing,
    Standing,
)
from devices.models.grouping import DeviceLabel, Label, Site
from devices.models.state import UNKNOWN_STATE, DeviceAccount, DeviceState

__all__ = [
    "LONGEST_PAUSE",
    "OPEN_STATUSES",
    "SN_PATTERN",
    "UNINVITED",
    "UNKNOWN_STATE",
    "Acknowledgement",
    "BrokerAccount",
    "BrokerAccountQuerySet",
    "Claim",
    "Device",
    "DeviceAccount",
    "DeviceLabel",
    "DeviceQuerySet",
    "DeviceState",
    "DockConnection",
    "Label",
    "Pairing",
    "ServiceCall",
    "ServiceCallBatch",
    "ServiceCallEvent",
    "ServiceCallQuerySet",
    "ServiceCallSecret",
    "Site",
    "Standing",
    "in_a_minute",
    "new_id",
]
