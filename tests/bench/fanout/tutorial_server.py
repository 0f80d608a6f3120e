"""The design of the tutorial that Maru started from, written afresh and given every fair chance.

One consumer for each socket, in one group, on the core Redis layer; a `group_send` for each chunk;
JSON made by each consumer for its own socket. To let it run at all with many sockets, its pool of
Redis connections is not limited, and the server is uvicorn as Maru runs it. In one thing it is
better than the tutorial: each room has a group, and whoever makes the text runs in a process of
its own (`source`), whose CPU is not counted.

    python -m tests.bench.fanout.tutorial_server serve PORT
    python -m tests.bench.fanout.tutorial_server source
"""

import asyncio
import json
import os
import sys
import time
from typing import Any, Final

import django
import uvicorn
import uvloop
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import re_path

CONNECTIONS: Final = 10_000


class ChatConsumer(AsyncWebsocketConsumer):
    """As every tutorial has it."""

    async def connect(self) -> None:
        self.group = f"chat_{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def chat_chunk(self, event: dict[str, Any]) -> None:
        await self.send(
            text_data=json.dumps({"type": "chunk", "seq": event["seq"], "text": event["text"]})
        )


def configure() -> None:
    """Set Django up with the core layer on the Redis that the environment names."""
    host = {"address": os.environ["MARU_REDIS_URL"], "max_connections": CONNECTIONS}
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}
    settings.configure(CHANNEL_LAYERS={"default": layer}, SECRET_KEY="tutorial", DEBUG=False)
    django.setup()


def serve(port: str) -> None:
    """Serve the consumer by uvicorn, with the options that Maru has."""
    socket: Any = ChatConsumer.as_asgi()
    routes = URLRouter([re_path(r"^ws/(?P<room>\d+)/$", socket)])
    config = uvicorn.Config(
        ProtocolTypeRouter({"websocket": routes}),
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        access_log=False,
        log_level="error",
        backlog=2_048,
    )
    uvicorn.Server(config).run()


async def stream(rooms: int, rate: float, chunks: int, text: str) -> dict[str, Any]:
    """Send each room its chunks, each at its time or as soon after it as the layer can."""
    layer: Any = get_channel_layer()
    began = time.monotonic() + 0.05

    async def talk(room: int) -> None:
        for seq in range(chunks):
            due = began + (seq + room / rooms) / rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
            message = {"type": "chat.chunk", "seq": seq, "text": text}
            await layer.group_send(f"chat_{room}", message)

    await asyncio.gather(*map(talk, range(rooms)))
    return {"chunks": chunks * rooms, "seconds": time.monotonic() - began}


async def source() -> None:
    """Be the one who makes the text."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        said = json.loads(line)
        said.pop("do")
        print(json.dumps(await stream(**said)), flush=True)


def main(what: str, *arguments: str) -> None:
    """Be the server or the source."""
    configure()
    if what == "serve":
        serve(*arguments)
    else:
        uvloop.run(source())


if __name__ == "__main__":
    main(*sys.argv[1:])
