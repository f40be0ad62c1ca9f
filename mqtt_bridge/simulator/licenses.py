"""Unlock licenses in a dock and its aircraft (docs/protocol.md, "Unlock licenses")."""

import asyncio
import copy
import hashlib
import math
import time
import urllib.request
from functools import cached_property
from http.client import HTTPException
from typing import NamedTuple

from mqtt_bridge.simulator.checks import Json
from mqtt_bridge.simulator.dialogue import FAILED, NO_AIRCRAFT, Answer, Command
from mqtt_bridge.simulator.hardware import Hardware

AIRCRAFT, DOCK = 0, 3  # device_model_domain
BEGIN, END = 1696948115, 2145916800  # seconds since 1970; those of DJI's sample, until 2038
FILE_LIMIT = 20 * 2**20  # bytes
FILE_TIMEOUT = 10.0  # seconds for the whole download
CHUNK = 64 * 2**10


class Download(NamedTuple):
    """A license file that the dock fetched for a command; `at` in seconds since 1970, `error` "" if it was good."""

    at: float
    size: int  # bytes
    md5: str  # lower-case hex, "" if nothing came
    sha256: str
    error: str


class Licenses:
    """The two inventories of one dock: `imported` (domain 0, in the aircraft) and `approved` (domain 3).

    Both are lists of licenses as `unlock_license_list` carries them and may be changed at will. They begin with
    one license of each type, and one more that is approved but not imported yet. A dock without aircraft
    has imported nothing. `downloads` holds what `unlock_license_update` fetched, good or bad, in order;
    `file_limit` (bytes) and `file_timeout` (seconds) bound a download.
    """

    def __init__(self, dock: Hardware) -> None:
        self._dock = dock
        self.downloads: list[Download] = []
        self.file_limit = FILE_LIMIT
        self.file_timeout = FILE_TIMEOUT

    # Made at the first look: a load test has thousands of docks.

    @cached_property
    def approved(self) -> list[Json]:
        """What FlySafe's web site approved for the devices of this dock."""
        holder = (self._dock.aircraft or self._dock.devices[0]).sn
        place = self._dock.telemetry
        return sample(self._dock.sn, holder, place.latitude, place.longitude)

    @cached_property
    def imported(self) -> list[Json]:
        """What the aircraft has."""
        return copy.deepcopy(self.approved[:-1]) if self._dock.aircraft else []

    @property
    def consistence(self) -> bool:
        """Whether the aircraft has what was approved; a license switched on or off is still the same."""
        return _comparable(self.imported) == _comparable(self.approved)

    def import_approved(self) -> None:
        """Give the aircraft what was approved; what it had already stays switched as it was."""
        enabled = {_id(one): one["common_fields"]["enabled"] for one in self.imported}
        self.imported = copy.deepcopy(self.approved)
        for one in self.imported:
            one["common_fields"]["enabled"] = enabled.get(_id(one), one["common_fields"]["enabled"])

    # --- the services

    async def inventory(self, dock: Hardware, command: Command) -> Answer:
        """`unlock_license_list`; 325012 for the aircraft's licenses while it is off."""
        domain = command.data["device_model_domain"]
        if domain == AIRCRAFT and not dock.aircraft_on:
            return Answer({"result": NO_AIRCRAFT})
        licenses = copy.deepcopy(self.imported if domain == AIRCRAFT else self.approved)
        state = {"device_model_domain": domain, "consistence": self.consistence, "licenses": licenses}
        return Answer({"result": 0, **state})

    async def switch(self, dock: Hardware, command: Command) -> Answer:
        """`unlock_license_switch`: switches a license of the aircraft; 325012 while it is off."""
        license_id = command.data["license_id"]
        found = [one for one in self.imported if _id(one) == license_id]
        result = 0
        if not dock.aircraft_on:
            result = NO_AIRCRAFT
        elif not found:
            result = FAILED
        else:
            found[0]["common_fields"]["enabled"] = command.data["enable"]
        return Answer({"result": result, "license_id": license_id})

    async def update(self, _dock: Hardware, command: Command) -> Answer:
        """`unlock_license_update`: imports what was approved, with `file` only if the file is good.

        What is in the file does not matter: its format is not public.
        """
        file = command.data.get("file")
        if file is not None:
            download = await asyncio.to_thread(
                fetch, file["url"], file["fingerprint"], limit=self.file_limit, timeout=self.file_timeout
            )
            self.downloads.append(download)
            if download.error:
                return Answer({"result": FAILED})
        self.import_approved()
        return Answer({"result": 0})


def fetch(url: str, fingerprint: str, *, limit: int = FILE_LIMIT, timeout: float = FILE_TIMEOUT) -> Download:
    """Download a file over HTTP and compare its MD5 with the fingerprint; blocks.

    Does not raise: `error` says what went wrong (no answer, more than `limit` bytes, longer than `timeout`
    seconds, a wrong fingerprint).
    """
    at = time.time()
    try:
        content = _read(url, limit, timeout)
    except (OSError, HTTPException, ValueError) as error:
        return Download(at, 0, "", "", f"{type(error).__name__}: {error}")
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    wrong = "" if md5 == fingerprint else "The fingerprint is that of another file."
    return Download(at, len(content), md5, hashlib.sha256(content).hexdigest(), wrong)


def _read(url: str, limit: int, timeout: float) -> bytes:
    if not url.startswith(("http://", "https://")):
        raise ValueError("Not an HTTP address.")
    deadline = time.monotonic() + timeout
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a dock knows no proxy
    content = bytearray()
    with direct.open(url, timeout=timeout) as response:
        # read1() returns what is there, so that a trickle cannot outlast the deadline.
        while chunk := response.read1(CHUNK):
            content += chunk
            if len(content) > limit:
                raise ValueError(f"More than {limit} bytes.")
            if time.monotonic() > deadline:
                raise TimeoutError(f"Longer than {timeout} s.")
        if response.length:  # what Content-Length promised and did not come
            raise ValueError(f"The download broke off, {response.length} bytes are missing.")
    return bytes(content)


def sample(dock_sn: str, device_sn: str, latitude: float, longitude: float) -> list[Json]:
    """One license of each of the seven types around a place (degrees), and a second area license.

    The same dock always gets the same; `license_id` and `group_id` differ from dock to dock.
    """
    group = int.from_bytes(hashlib.blake2b(dock_sn.encode(), digest_size=5).digest())
    centre = {"latitude": round(latitude, 6), "longitude": round(longitude, 6)}
    points = [
        {
            "latitude": round(latitude + 0.01 * math.sin(angle), 8),
            "longitude": round(longitude + 0.01 * math.cos(angle), 8),
        }
        for angle in (0.3, 1.5, 2.9, 4.2)
    ]
    contents: list[tuple[int, str, str, Json]] = [
        (0, "Authorization zone", "area_unlock", {"area_ids": [115001769, 8724]}),
        (1, "Circle around the dock", "circle_unlock", {"radius": 1581, **centre, "height": 500}),
        (2, "Country", "country_unlock", {"country_number": 156, "height": 500}),
        (3, "Altitude", "height_unlock", {"height": 500}),
        (4, "Polygon", "polygon_unlock", {"points": points}),
        (5, "Power", "power_unlock", {}),
        (6, "Remote ID", "rid_unlock", {"level": 1}),
        (0, "Second authorization zone", "area_unlock", {"area_ids": [115001770]}),
    ]
    return [
        {
            "common_fields": {
                "license_id": group * 16 + place,
                "name": name,
                "type": kind,
                "group_id": group,
                "user_id": f"flysafe-{dock_sn}",
                "device_sn": device_sn,
                "begin_time": BEGIN,
                "end_time": END,
                "user_only": False,
                "enabled": place == 0,
            },
            key: content,
        }
        for place, (kind, name, key, content) in enumerate(contents)
    ]


def _id(license_: Json) -> int:
    return int(license_["common_fields"]["license_id"])


def _comparable(licenses: list[Json]) -> list[Json]:
    plain = [{**one, "common_fields": {**one["common_fields"], "enabled": None}} for one in licenses]
    return sorted(plain, key=_id)
