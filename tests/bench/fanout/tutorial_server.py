"""The design of the tutorial that Maru started from, rewritten with favourable settings.

One consumer per socket, in one group on the core Redis layer; one `group_send` per chunk; each
consumer encodes the JSON for its own socket. So that it works with many sockets, its Redis
connection pool is not limited, and uvicorn has the options that Maru uses. It is better than the
tutorial in one respect: each room has its own group, and the text comes from another process
(`source`), whose CPU is not counted.

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
    """The consumer of the Channels tutorial."""

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
    """Set Django up with the core layer on MARU_REDIS_URL."""
    host = {"address": os.environ["MARU_REDIS_URL"], "max_connections": CONNECTIONS}
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}
    settings.configure(CHANNEL_LAYERS={"default": layer}, SECRET_KEY="tutorial", DEBUG=False)
    django.setup()


def serve(port: str) -> None:
    """Serve the consumer by uvicorn with Maru's options."""
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
    """Send `chunks` chunks to each room, `rate` per second or as fast as the layer allows."""
    layer: Any = get_channel_layer()
    began = time.monotonic() + 0.05

    async def stream_to(room: int) -> None:
        for seq in range(chunks):
            due = began + (seq + room / rooms) / rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
            message = {"type": "chat.chunk", "seq": seq, "text": text}
            await layer.group_send(f"chat_{room}", message)

    await asyncio.gather(*map(stream_to, range(rooms)))
    return {"chunks": chunks * rooms, "seconds": time.monotonic() - began}


async def source() -> None:
    """Handle one `stream` request per line of standard input."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        fields = json.loads(line)
        fields.pop("do")
        print(json.dumps(await stream(**fields)), flush=True)


def main(role: str, *arguments: str) -> None:
    configure()
    if role == "serve":
        serve(*arguments)
    else:
        uvloop.run(source())


if __name__ == "__main__":
    main(*sys.argv[1:])
