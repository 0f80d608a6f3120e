"""Test doubles for topics and hubs: a store to read gaps from, a client, and envelopes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import msgspec

from rooms.fanout.connection import Connection
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.fanout.delivery import Subscription
from rooms.fanout.publisher import Batch, Delta, LogEntry, RoomEnvelope
from rooms.fanout.topic import Source, Topic
from rooms.fanout.transport import Frame, Writer
from rooms.protocol.events import MessageDelta, encode

ROOM, ANSWER, RUN = UUID(int=1), UUID(int=2), UUID(int=3)


@dataclass
class FakeStore:
    """The log and the delta store that gaps are filled from; `reads` counts the queries."""

    log: list[LogEntry] = field(default_factory=list)
    deltas: list[str] = field(default_factory=list)
    reads: int = 0

    def source(self) -> Source:
        return Source(self.last_seqs, self.events_after, self.deltas_since, self.revoked)

    async def last_seqs(self, rooms: list[UUID]) -> dict[UUID, int]:
        return {ROOM: len(self.log)}

    async def events_after(self, room: UUID, after: int) -> list[LogEntry]:
        self.reads += 1
        await asyncio.sleep(0)
        return self.log[after:]

    async def deltas_since(self, message: UUID, attempt: int, since: int) -> list[str]:
        self.reads += 1
        await asyncio.sleep(0)
        return self.deltas[since:]

    async def revoked(self, rooms: RoomsByCredential) -> set[Credential]:
        return set()


def entry(seq: int, kind: str = "room.changed", **fields: object) -> LogEntry:
    frame = {"type": kind, "room": ROOM, "seq": seq, **fields}
    return LogEntry(seq, kind, msgspec.json.encode(frame))


def batch(*entries: LogEntry) -> Batch:
    return Batch(ROOM, list(entries))


def delta(seq: int, text: str, *, attempt: int = 1, base: int = 0) -> Delta:
    event = MessageDelta(room=ROOM, message=ANSWER, run=RUN, attempt=attempt, seq=seq, text=text)
    return Delta(ROOM, ANSWER, attempt, seq, base, encode(event))


def answer_started(seq: int, attempt: int = 1) -> LogEntry:
    return entry(seq, "run.started", run={"id": RUN, "answer": ANSWER, "attempt": attempt})


def answer_ended(seq: int) -> LogEntry:
    return entry(seq, "message.completed", message={"id": ANSWER, "run": RUN})


def payload_of(wire: bytes) -> bytes:
    """Return the payload of an unmasked WebSocket frame (RFC 6455, section 5.2)."""
    return wire[{126: 4, 127: 10}.get(wire[1], 2) :]


class FakeClient:
    """A connection and its transport; `received` has the frames in the order of arrival.

    With `direct=False` the transport has no direct writer, as with plain ASGI. `stop_reading`
    behaves like a full write buffer. `wires` has what was written directly.
    """

    def __init__(
        self, user: UUID | None = None, *, direct: bool = True, is_compact: bool = False
    ) -> None:
        self.wires: list[bytes] = []
        self.received: list[dict[str, object]] = []
        self.closed: list[int] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.direct = direct
        self.aborted = False
        self.sends = 0
        self.direct_writes = 0
        self.on_pause: Callable[[], None] = lambda: None
        self.connection = Connection(
            Credential(user or uuid4()), self, self._close, is_compact=is_compact
        )

    @property
    def seqs(self) -> list[object]:
        """The seqs of the log that the client has received."""
        return [frame["seq"] for frame in self.received if frame["type"] != "message.delta"]

    @property
    def text(self) -> str:
        """The received deltas, joined."""
        return "".join(str(f["text"]) for f in self.received if f["type"] == "message.delta")

    def stop_reading(self) -> None:
        self.reading.clear()
        self.on_pause()

    def direct_writer(self, on_pause: Callable[[], None]) -> Writer | None:
        if not self.direct or not self.reading.is_set():
            return None
        self.on_pause = on_pause
        return self

    async def send(self, frames: Sequence[Frame]) -> None:
        await self.reading.wait()
        self.sends += 1
        for frame in frames:
            assert frame.wire.endswith(frame.payload)
            self.receive(frame.payload)

    def abort(self) -> None:
        self.aborted = True

    def write(self, wire: bytes) -> None:
        self.direct_writes += 1
        self.wires.append(wire)
        self.receive(payload_of(wire))

    def receive(self, payload: bytes) -> None:
        self.received.append(msgspec.json.decode(payload))

    async def _close(self, code: int) -> None:
        self.closed.append(code)


def topic_of(store: FakeStore, source: Source | None = None) -> Topic:
    """Return a topic that is ready, at the end of the store's log."""
    topic = Topic(ROOM, source or store.source(), lambda room, user: None)
    topic.start(len(store.log))
    return topic


def subscribe(
    topic: Topic,
    client: FakeClient,
    seq: int = -1,
    answers: dict[UUID, tuple[int, int]] | None = None,
) -> Subscription:
    """Subscribe a client whose snapshot has these positions."""
    subscription = topic.delivery.add(client.connection)
    subscription.start(seq, answers or {})
    return subscription


@asynccontextmanager
async def delivering(
    store: FakeStore, *clients: FakeClient
) -> AsyncIterator[Callable[[RoomEnvelope], None]]:
    """Yield the `receive` of a topic that all clients are subscribed to."""
    topic = topic_of(store)
    for client in clients:
        subscribe(topic, client)
    yield topic.receive
    topic.close()


async def until(condition: Callable[[], bool]) -> None:
    """Run the event loop until `condition()` is true; raise TimeoutError if it never is."""
    for _turn in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise TimeoutError
