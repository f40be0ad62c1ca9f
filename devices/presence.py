"""What is known about a device's connection now: online, offline, unknown or never seen."""

from datetime import datetime
from typing import NamedTuple

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from devices.models import DeviceState
from mqtt_bridge.models import Heartbeat
from organizations.fleet import silent_before


class Presence(models.TextChoices):
    """What we know about a device's connection."""

    ONLINE = "online", _("online")
    OFFLINE = "offline", _("offline")
    UNKNOWN = "unknown", _("unknown")
    NEVER = "never", _("never seen")


class Watch(NamedTuple):
    """Whether a bridge listens to the devices now: while none does, nothing is known of those seen before."""

    now: datetime
    bridge_alive: bool

    def presence(self, state: DeviceState | None) -> Presence:
        """The presence of a device in this state; None is a device that was never seen."""
        if state is None or (state.last_seen is None and not state.online):
            return Presence.NEVER
        if not self.bridge_alive:
            return Presence.UNKNOWN
        if not state.online:
            return Presence.OFFLINE
        # Not declared offline, yet silent too long: the bridge has just come back and gives it time.
        silent = state.last_seen is not None and state.last_seen < silent_before(self.now)
        return Presence.UNKNOWN if silent else Presence.ONLINE

    def matching(self, presence: str, path: str = "state__") -> Q:
        """The same as a condition on devices."""
        seen = Q(**{f"{path}last_seen__isnull": False}) | Q(**{f"{path}online": True})
        online = Q(**{f"{path}online": True})
        silent = Q(**{f"{path}last_seen__lt": silent_before(self.now)})
        nothing = Q(pk__in=[])
        conditions = {
            Presence.NEVER: ~seen | Q(**{f"{path}pk__isnull": True}),
            Presence.UNKNOWN: online & silent if self.bridge_alive else seen,
            Presence.ONLINE: online & ~silent if self.bridge_alive else nothing,
            Presence.OFFLINE: seen & ~online if self.bridge_alive else nothing,
        }
        return conditions[Presence(presence)]


def watch(now: datetime | None = None) -> Watch:
    """The watch as it is now; one query."""
    now = now or timezone.now()
    heartbeat = Heartbeat.objects.current()
    return Watch(now, heartbeat is not None and not heartbeat.is_stale(now))
