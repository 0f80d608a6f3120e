"""Settings of Maru with a channel layer that drops messages, which its contract allows.

Each process drops other messages. Tests select the module by `DJANGO_SETTINGS_MODULE`.
"""

import random
from collections.abc import Iterator
from typing import Any, Final

from maru.settings import *  # noqa: F403 # all settings of the product
from maru.settings import CHANNEL_LAYERS
from rooms.fanout.redis_layer import RedisLayer

LOSS: Final = 0.03

CHANNEL_LAYERS["default"]["BACKEND"] = "tests.cluster.fanout.lossy_settings.LossyLayer"


class LossyLayer(RedisLayer):
    """Drops 3 % of the received messages without an error."""

    async def receive(self, channel: str) -> Any:
        while True:
            message = await self._get_layer().receive(channel)
            if random.random() >= LOSS:
                return message

    def receive_queued(self, channel: str) -> Iterator[Any]:
        return (message for message in super().receive_queued(channel) if random.random() >= LOSS)
