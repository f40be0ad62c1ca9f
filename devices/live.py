"""Tell browsers."""

from collections.abc import Iterable

from devices.models import Device, ServiceCall


def tell_calls(calls: Iterable[ServiceCall]) -> None: ...
def tell_account(device: Device) -> None: ...
def tell_device(devices: Iterable[Device]) -> None: ...
