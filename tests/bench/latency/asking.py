"""Asking a persona something at a socket, with a stop watch."""

import asyncio
import json
import time
from typing import Final
from uuid import uuid4

from tests.deadlines import DEADLINE
from tests.live import Socket

PAUSE: Final = 0.05
"""Between two questions: whoever has answered tidies up."""


async def send(socket: Socket, room: str) -> float:
    """Say something that is answered; return when it was sent. Waits for nothing."""
    command = {
        "type": "message.send",
        "ref": "bench",
        "room": room,
        "client_id": str(uuid4()),
        "text": "What is a maru?",
        "reply_to": None,
        "personas": None,
    }
    frame = json.dumps(command)
    sent = time.monotonic()
    await socket.connection.send(frame)
    return sent


async def heard(socket: Socket) -> float:
    """Receive an answer to its end; return when its first text was there."""
    first = 0.0
    async with asyncio.timeout(DEADLINE):
        while True:
            frame = await socket.receive()
            match frame["type"]:
                case "message.delta" if not first:
                    first = time.monotonic()
                case "run.completed":
                    return first
                case "run.failed" | "command.refused":
                    raise RuntimeError(frame)


async def ask(socket: Socket, room: str) -> float:
    """Ask and hear at one socket; return the milliseconds to the first text."""
    sent = await send(socket, room)
    first = await heard(socket)
    await asyncio.sleep(PAUSE)
    return (first - sent) * 1000
