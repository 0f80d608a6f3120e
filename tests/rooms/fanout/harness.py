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
from rooms.fanout.transport import Frame, Writer
from rooms.runs.lifecycle import Job
from rooms.socket.consumer import RoomsConsumer
from rooms.socket.routing import make_hub
from rooms.socket.token_bucket import TokenBucket
from tests.rooms.claiming import claim_and_start
from tests.rooms.conftest import Cast
from tests.rooms.fanout.doubles import payload_of

P = ParamSpec("P")
R = TypeVar("R")

Json = dict[str, Any]


class SocketClient:
    """A user's socket; `received` has all frames in the order of arrival."""

    def __init__(self, hub: RoomHub, user: User) -> None:
        self.user = user
        self.received: list[Json] = []
        self.closed: int | None = None
        self.hub = hub
        self._arrived = asyncio.Event()
        self._refs = count(1)
        self._consumer = RoomsConsumer()
        self._consumer.user, self._consumer.language, self._consumer.hub = user, "en", hub
        self._consumer.connection = Connection(Credential(user.pk), self, self._close)
        self._consumer._bucket = TokenBucket()
        hub.connect(self._consumer.connection)

    @property
    def connection(self) -> Connection:
        return self._consumer.connection

    async def command(self, kind: str, **fields: Any) -> Json:
        """Send a command and return its response."""
        ref = f"{kind}-{next(self._refs)}"
        await self.send_frame({"type": kind, "ref": ref, **fields})
        return next(frame for frame in reversed(self.received) if frame.get("ref") == ref)

    async def send_frame(self, frame: Json) -> None:
        """Send a frame that may have no response."""
        await self._consumer.receive(text_data=msgspec.json.encode(frame).decode())

    async def join(self, room: UUID, after: int | None = None) -> Json:
        return await self.command("room.join", room=str(room), after=after, live=None)

    async def say(self, room: UUID, text: str, **fields: Any) -> Json:
        defaults: Json = {"client_id": str(uuid4()), "reply_to": None, "personas": []}
        return await self.command("message.send", room=str(room), text=text, **defaults | fields)

    async def disconnect(self) -> None:
        await self.hub.disconnect(self.connection)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition()` is true; it is evaluated after each frame."""
        while not condition():
            self._arrived.clear()
            await self._arrived.wait()

    def joined(self, room: UUID) -> bool:
        """Return True if the hub delivers the room's frames to this client."""
        return room in self.connection.subscriptions

    # The transport of the connection.

    def direct_writer(self, on_pause: Callable[[], None]) -> Writer | None:
        return self

    async def send(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self.write(frame.wire)

    def abort(self) -> None:
        """Do nothing: no bytes are buffered."""

    def write(self, wire: bytes) -> None:
        self.received.append(msgspec.json.decode(payload_of(wire)))
        self._arrived.set()

    async def _close(self, code: int) -> None:
        self.closed = code
        self._arrived.set()


async def lease_is_valid() -> bool:
    return True


class Harness:
    """The hub of a web process and a worker's name."""

    def __init__(self, hub: RoomHub) -> None:
        self.hub = hub
        self.worker = f"test-{uuid4().hex}"

    def connect(self, user: User) -> SocketClient:
        """Open a socket for a user."""
        return SocketClient(self.hub, user)

    async def do(self, service: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a service in a thread, as pages and commands do."""
        return await in_thread(COMMANDS, service, *args, **kwargs)

    async def take(self) -> Job | None:
        """Claim and start the next queued run, as a worker does."""
        taken = await self.do(claim_and_start, self.worker)
        return taken[1] if taken else None

    async def settled(self, *clients: SocketClient) -> None:
        """Return once the hub has delivered all that was published before the call."""
        marker = publisher.ActivityHint(uuid4())
        seen = asyncio.Event()
        dispatch = self.hub._dispatch

        def watch(envelope: publisher.Envelope) -> None:
            dispatch(envelope)
            if envelope == marker:
                seen.set()

        self.hub._dispatch = watch  # type: ignore[method-assign]  # to see the marker arrive
        try:
            publisher.publish(marker)
            await seen.wait()
        finally:
            self.hub._dispatch = dispatch  # type: ignore[method-assign]  # the original
        for client in clients:
            await client.connection.drained()


@asynccontextmanager
async def run_harness() -> AsyncIterator[Harness]:
    """Run a hub and a publisher for as long as the context lasts."""
    hub = make_hub()
    tasks = [asyncio.create_task(publisher.publisher.run()), asyncio.create_task(hub.run())]
    for _turn in range(10):  # a few turns of the event loop are enough for both to start
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


async def join_room(harness: Harness, cast: Cast, *users: User) -> list[SocketClient]:
    """Connect the users and join the room of the cast."""
    clients = [harness.connect(user) for user in users]
    for client in clients:
        assert (await client.join(cast.room.pk))["type"] == "room.snapshot"
    return clients
