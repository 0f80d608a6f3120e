"""A hub, the publisher and any number of clients in the process of a test.

A client is a socket without a network: the same consumer, connection and hub as behind uvicorn, so
`received` is what would have been written. The database is the test database, and commits.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, ParamSpec, TypeVar
from uuid import UUID, uuid4

import msgspec

from accounts.models import User
from rooms.executors import COMMANDS, in_thread
from rooms.fanout import publisher
from rooms.fanout.connection import Connection
from rooms.fanout.credentials import Credential
from rooms.fanout.hub import RoomHub
from rooms.fanout.transport import Frame, Write
from rooms.runs import lifecycle
from rooms.runs.lifecycle import Job
from rooms.socket.consumer import RoomsConsumer
from rooms.socket.routing import make_hub
from rooms.socket.token_bucket import Bucket
from tests.rooms.fanout.doubles import payload_of

P = ParamSpec("P")
R = TypeVar("R")

Frames = dict[str, Any]


class SocketClient:
    """A socket of somebody; `received` is all that it was sent, in order."""

    def __init__(self, hub: RoomHub, user: User) -> None:
        self.user = user
        self.received: list[Frames] = []
        self.closed: int | None = None
        self._told = asyncio.Event()
        self.hub = hub
        self._refs = count(1)
        self._consumer = RoomsConsumer()
        self._consumer.user, self._consumer.language, self._consumer.hub = user, "en", hub
        self._consumer.connection = Connection(Credential(user.pk), self, self._close)
        self._consumer._bucket = Bucket()
        hub.connect(self._consumer.connection)

    async def command(self, kind: str, **fields: Any) -> Frames:
        """Send a command and return the answer to it."""
        ref = f"{kind}-{next(self._refs)}"
        await self.tell({"type": kind, "ref": ref, **fields})
        return next(frame for frame in reversed(self.received) if frame.get("ref") == ref)

    async def tell(self, frame: Frames) -> None:
        """Send something that may have no answer."""
        await self._consumer.receive(text_data=msgspec.json.encode(frame).decode())

    async def join(self, room: UUID, after: int | None = None) -> Frames:
        return await self.command("room.join", room=str(room), after=after, live=None)

    async def say(self, room: UUID, text: str, **fields: Any) -> Frames:
        usual: dict[str, Any] = {"client_id": str(uuid4()), "reply_to": None, "personas": []}
        return await self.command("message.send", room=str(room), text=text, **{**usual, **fields})

    async def leave(self) -> None:
        await self.hub.disconnect(self._consumer.connection)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when it is so; asked again whenever something has come."""
        while not condition():
            self._told.clear()
            await self._told.wait()

    @property
    def connection(self) -> Connection:
        return self._consumer.connection

    def joined(self, room: UUID) -> bool:
        """Whether the hub sends frames of the room here."""
        return room in self._consumer.connection.subscriptions

    # The sink of the connection: what is written is received.

    def write(self, frame: Frame) -> bool:
        self._hear(frame.wire)
        return True

    def writer(self, stalled: Callable[[], None]) -> Write | None:
        return self._hear

    async def send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.write(frame)

    def abort(self) -> None:
        """There is nothing to drop."""

    def _hear(self, wire: bytes) -> None:
        self.received.append(msgspec.json.decode(payload_of(wire)))
        self._told.set()

    async def _close(self, code: int) -> None:
        self.closed = code
        self._told.set()


async def lease_is_valid() -> bool:
    """Say that a run's lease is good."""
    return True


class Harness:
    """What a web process has one of: a hub that hears what the publisher sends."""

    def __init__(self, hub: RoomHub) -> None:
        self.hub = hub
        self.worker = f"test-{uuid4().hex}"

    def connect(self, user: User) -> SocketClient:
        """Open a socket for somebody."""
        return SocketClient(self.hub, user)

    async def do(self, act: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a service, as a page or a command would, in a thread."""
        return await in_thread(COMMANDS, act, *args, **kwargs)

    async def take(self) -> Job | None:
        """Start the run that is next in line, as a worker does."""
        taken = await self.do(lifecycle.claim_and_start, self.worker)
        return taken[1] if taken else None

    async def settled(self, *clients: SocketClient) -> None:
        """Return when the hub has handed over all that was published so far."""
        mark = UUID(int=uuid4().int)
        seen = asyncio.Event()
        take = self.hub._take

        def watch(envelope: publisher.Envelope) -> None:
            take(envelope)
            if isinstance(envelope, publisher.ActivityHint) and envelope.room == mark:
                seen.set()

        self.hub._take = watch  # type: ignore[method-assign]  # to see our own mark go by
        try:
            publisher.publish(publisher.ActivityHint(mark))
            await seen.wait()
        finally:
            self.hub._take = take  # type: ignore[method-assign]  # as it was
        for client in clients:
            await client._consumer.connection.drained()


@asynccontextmanager
async def run_harness() -> AsyncIterator[Harness]:
    """Run a hub and a publisher for as long as the context lasts."""
    hub = make_hub()
    tasks = [asyncio.create_task(publisher.publisher.run()), asyncio.create_task(hub.run())]
    for _turn in range(10):  # both need a few to be ready; nothing of it waits for anything
        await asyncio.sleep(0)
    assert hub._channel
    assert publisher.publisher._loop
    try:
        yield Harness(hub)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for topic in hub._topics.values():
            topic.close()
