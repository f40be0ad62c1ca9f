"""A dock and its aircraft as devices: which they are, on or off, paired or not, and how messages name them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mqtt_bridge.simulator.checks import Json
from mqtt_bridge.simulator.habits import read_habits
from mqtt_bridge.simulator.osd import Telemetry

# Opaque to the cloud: there is no public algorithm.
SECRETS = {"device_secret": "simulated", "nonce": "simulated", "thing_version": "1.1.2"}


class Device(NamedTuple):
    """A dock or an aircraft as the bind request names it."""

    sn: str
    model_key: str  # domain-type-sub_type
    callsign: str

    def product(self) -> Json:
        """Its model as a topology names it; raises ValueError for a bad model key."""
        try:
            domain, kind, sub_type = (int(part) for part in self.model_key.split("-"))
        except ValueError:
            raise ValueError(f"Not a model key: {self.model_key!r} (expected domain-type-sub_type).") from None
        return {"domain": str(domain), "type": kind, "sub_type": sub_type}


class Hardware:
    """The dock, then its aircraft if it has one; `habits` are names of HABITS, `telemetry` is what they measure.

    `aircraft_on` may be set at any time, but the cloud learns of it with the next topology or osd only. Raises
    ValueError for a bad model key and for habits that `read_habits` refuses.
    """

    def __init__(
        self, devices: Sequence[Device], telemetry: Telemetry, *, habits: Iterable[str], aircraft_on: bool
    ) -> None:
        self.sn = devices[0].sn
        self.habits = read_habits(habits)
        self.devices = list(devices)
        self.is_paired = len(self.devices) > 1
        self.aircraft_on = self.is_paired and aircraft_on
        self.telemetry = telemetry
        self._sharers = [self]
        self.topology()  # raises for a bad model key

    @property
    def sns(self) -> list[str]:
        """The dock's serial number, then its aircraft's."""
        return [device.sn for device in self.devices]

    @property
    def aircraft(self) -> Device | None:
        """The aircraft that belongs to this dock, on or off."""
        return self.devices[1] if len(self.devices) > 1 else None

    @property
    def bind_devices(self) -> list[Device]:
        """The devices that it asks to bind."""
        return self.devices if self.is_paired and "bound-alone" not in self.habits else self.devices[:1]

    @property
    def best_link_gateway(self) -> str:
        """The dock that its aircraft reports through: of those that share it, the first where it is on."""
        return next((dock.sn for dock in self._sharers if dock.aircraft_on), self.sn)

    @property
    def relays_aircraft(self) -> bool:
        """Whether its aircraft is on and reports through this dock."""
        return self.aircraft_on and self.best_link_gateway == self.sn

    def share_aircraft_of(self, other: "Hardware") -> None:
        """Have the aircraft of another dock, too, as for flights from one to the other; before both start."""
        self.devices[1:] = other.devices[1:]
        self.is_paired, self.aircraft_on = other.is_paired, other.aircraft_on
        self._sharers = other._sharers = [other, self]

    def pair(self, aircraft: Device) -> None:
        """Have this aircraft instead of the last one, on or off as that was; docks that shared it share no more.

        Raises ValueError for a bad model key.
        """
        aircraft.product()
        self.devices[1:] = [aircraft]
        self.is_paired = True
        for dock in self._sharers:
            dock._sharers = [dock]

    def topology(self) -> Json:
        """The data of `update_topo`; an aircraft that is off is not in it."""
        dock, *others = (device.product() for device in self.devices)
        shown = others if self.aircraft_on else []
        if "no-domain" in self.habits:
            for product in (dock, *shown):
                del product["domain"]
        sub_devices = [{"sn": self.devices[1].sn, **aircraft, **SECRETS, "index": "A"} for aircraft in shown]
        return {**dock, **SECRETS, "sub_devices": sub_devices}

    def sub_device(self) -> Json:
        """The `sub_device` of the dock's osd; its texts are "" in a dock that never had an aircraft."""
        aircraft = self.aircraft or Device("", "", "")
        own_model = self.devices[0].model_key
        is_old = "product-type" in self.habits or own_model.startswith("3-1-")
        model = {"product_type" if is_old else "device_model_key": aircraft.model_key}
        if own_model.startswith("3-3-") and not self.aircraft_on:
            model = {}  # a Dock 3 knows it only then (recorded in github.com/damon-liu/Dji-cloud-api-tool)
        return {
            "device_sn": aircraft.sn,
            **model,
            "device_online_status": int(self.aircraft_on),
            "device_paired": int(self.is_paired),
        }
