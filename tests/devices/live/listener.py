"""Receives what is sent to groups of a channel layer, without a WebSocket."""

import asyncio
import json

from channels.layers import get_channel_layer

from devices.live import broadcast


class Listener:
    """A member of some groups; `heard()` returns the frames that came, in their order."""

    def __init__(self, *groups, layer=None):
        self.layer = layer or get_channel_layer()
        self.loop = asyncio.new_event_loop()
        self.receiving = None
        self.channel = self.loop.run_until_complete(self.layer.new_channel())
        for group in groups:
            self.loop.run_until_complete(self.layer.group_add(group, self.channel))
        self.loop.run_until_complete(self._hear_probes(groups))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.receiving is not None:
            self.receiving.cancel()
            self.loop.run_until_complete(asyncio.wait([self.receiving]))
        self.loop.close()

    def heard(self, count=None, *, seconds=30.0):
        """So many frames, or all of so many seconds."""
        return self.loop.run_until_complete(self._heard(count, seconds))

    def heard_only(self, count, *, quiet=0.3):
        """So many frames and what else comes in the seconds after them, which should be nothing."""
        return self.heard(count) + self.heard(seconds=quiet)

    async def _hear_probes(self, groups):
        """Return when a message without frames has come back from each group: Redis knows the subscription then."""
        for group in groups:
            async with asyncio.timeout(30):
                heard = asyncio.ensure_future(self.layer.receive(self.channel))
                while not heard.done():
                    await self.layer.group_send(group, {"type": "frames", "frames": []})
                    await asyncio.wait([heard], timeout=0.2)

    async def _heard(self, count, seconds):
        frames = []
        try:
            async with asyncio.timeout(seconds):
                while count is None or len(frames) < count:
                    # `wait`, because cancelling `receive` ends the channel
                    self.receiving = self.receiving or self.loop.create_task(self.layer.receive(self.channel))
                    await asyncio.wait([self.receiving])
                    message, self.receiving = self.receiving.result(), None
                    frames += [json.loads(text) for _, text in message["frames"]]
        except TimeoutError:
            pass
        return frames


def listen_to(device):
    """Everything that may be said of a device as its present owner's."""
    return Listener(
        broadcast.device_group(device.pk, device.organization_id), broadcast.hints_group(device.organization_id)
    )
