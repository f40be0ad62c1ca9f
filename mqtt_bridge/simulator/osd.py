"""Plausible osd and state messages of a dock and its aircraft (docs/protocol.md, "Telemetry")."""

import math
import time
from dataclasses import dataclass, field

from mqtt_bridge.simulator.checks import Json

METRES_PER_DEGREE = 111_320
BATTERY_PER_FRAME = 0.02  # % that an aircraft in its dock gains per frame


@dataclass
class Telemetry:
    """The measured values of one dock and its aircraft, which move a little with every frame.

    `latitude`, `longitude` in degrees say where the dock stands; `number` spreads docks of one fleet.
    """

    latitude: float
    longitude: float
    number: int = 0
    dock_firmware: str = "10.01.1622"
    aircraft_firmware: str = "10.01.1622"
    battery: float = 87.0  # %
    started: float = field(default_factory=time.time)
    frames: int = 0

    def __post_init__(self) -> None:
        # A spiral with some 200 m between neighbours: a fleet covers a region instead of one point.
        angle, radius = self.number * 2.4, 200 * math.sqrt(self.number)
        self.latitude += radius * math.cos(angle) / METRES_PER_DEGREE
        stretch = max(0.01, math.cos(math.radians(self.latitude)))
        self.longitude += radius * math.sin(angle) / (METRES_PER_DEGREE * stretch)

    def dock_state(self) -> Json:
        """What a dock reports once after its start."""
        return {"firmware_version": self.dock_firmware, "compatible_status": 0, "firmware_upgrade_status": 0}

    def aircraft_state(self, best_link_gateway: str) -> Json:
        """What an aircraft reports once after its start; it links best through this dock."""
        return {
            "firmware_version": self.aircraft_firmware,
            "compatible_status": 0,
            "firmware_upgrade_status": 0,
            "home_latitude": round(self.latitude, 7),
            "home_longitude": round(self.longitude, 7),
            "control_source": "A",
            "best_link_gateway": best_link_gateway,
        }

    def dock_frames(self, sub_device: Json, *, mode_code: int = 0) -> list[Json]:
        """The dock's osd of one beat, in partial frames as docks send them; `sub_device` is in one of them."""
        self.frames += 1
        place = {
            "mode_code": mode_code,
            "cover_state": 0,
            "putter_state": 0,
            "drone_in_dock": int(sub_device["device_sn"] != ""),
            "emergency_stop_state": 0,
            "latitude": round(self.latitude, 7),
            "longitude": round(self.longitude, 7),
            "height": 35.4,
            "first_power_on": int(self.started * 1000),
            "activation_time": int(self.started),
            "sub_device": sub_device,
        }
        weather = {
            "network_state": {"type": 2, "quality": 4, "rate": 30 + self.frames % 7},
            "temperature": round(24 + math.sin(self.frames / 40), 1),
            "environment_temperature": round(19 + math.sin(self.frames / 60), 1),
            "humidity": 48,
            "wind_speed": round(3 + math.sin(self.frames / 5), 1),
            "rainfall": 0,
        }
        work = {"flighttask_step_code": 5, "drc_state": 0, "job_number": 0, "acc_time": int(self.frames * 2)}
        return [place, weather, work]

    def aircraft_frames(self, best_link_gateway: str) -> list[Json]:
        """The aircraft's osd of one beat: standing by in its dock, charging, best linked through this dock."""
        self.battery = min(100.0, self.battery + BATTERY_PER_FRAME)
        percent = int(self.battery)
        flight = {
            "mode_code": 0,
            "latitude": round(self.latitude, 7),
            "longitude": round(self.longitude, 7),
            "height": 35.2,
            "elevation": 0.0,
            "horizontal_speed": 0.0,
            "vertical_speed": 0.0,
            "attitude_head": -12.5,
            "gear": 1,
            "is_near_area_limit": 0,
        }
        power = {
            "battery": {"capacity_percent": percent, "remain_flight_time": percent * 22},
            "storage": {"total": 60_000_000, "used": 1_200_000},
            "best_link_gateway": best_link_gateway,
        }
        return [flight, power]
