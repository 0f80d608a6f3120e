"""Settings of Maru with a channel layer that drops messages, which its contract allows.

Each process drops other messages. Tests select the module by `DJANGO_SETTINGS_MODULE`.
"""

import random
from typing import Any, Final

from maru.settings import *  # noqa: F403 # all settings of the product
from maru.settings import CHANNEL_LAYERS
from rooms.fanout.redis_layer import OnMessage, RedisLayer

LOSS: Final = 0.03

CHANNEL_LAYERS["default"]["BACKEND"] = "tests.cluster.fanout.lossy_settings.LossyLayer"


class LossyLayer(RedisLayer):
    """Drops 3 % of the received messages without an error."""

    def listen(self, channel: str, on_message: OnMessage) -> None:
        def on_message_or_drop(message: Any) -> None:
            if random.random() >= LOSS:
                on_message(message)

        super().listen(channel, on_message_or_drop)
