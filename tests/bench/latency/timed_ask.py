"""Ask a persona through a socket and take the times. All times are of the monotonic clock."""

import asyncio
import json
import time
from typing import Final
from uuid import uuid4

from tests.deadlines import DEADLINE
from tests.live import Socket

PAUSE: Final = 0.05
"""Seconds between two questions, in which the worker finishes the previous run."""


async def send(socket: Socket, room: str) -> float:
    """Send a message that is answered; return the time of sending without waiting for a frame."""
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


async def first_delta_time(socket: Socket) -> float:
    """Receive an answer to its end; return the time of its first delta."""
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
    """Ask and receive at one socket; return the milliseconds to the first delta."""
    sent = await send(socket, room)
    first = await first_delta_time(socket)
    await asyncio.sleep(PAUSE)
    return (first - sent) * 1000
