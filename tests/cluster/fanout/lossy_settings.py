"""Settings of a Maru whose layer loses messages: its contract allows that, so nobody may mind.

Each process loses others than its neighbour. For tests only: `DJANGO_SETTINGS_MODULE` names it.
"""

import random
from collections.abc import Iterator
from typing import Any, Final

from maru.settings import *  # noqa: F403 # the product's own, all of them
from maru.settings import CHANNEL_LAYERS
from rooms.fanout.redis_layer import RedisLayer

LOSS: Final = 0.03

CHANNEL_LAYERS["default"]["BACKEND"] = "tests.cluster.fanout.lossy_settings.LossyLayer"


class LossyLayer(RedisLayer):
    """Loses three messages of a hundred on their way in, in silence."""

    async def receive(self, channel: str) -> Any:
        while True:
            message = await self._get_layer().receive(channel)
            if random.random() >= LOSS:
                return message

    def receive_queued(self, channel: str) -> Iterator[Any]:
        return (message for message in super().receive_queued(channel) if random.random() >= LOSS)
