"""A room that is received: what the layer would bring of it, what the stores have, who listens."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import msgspec

from rooms.fanout.connection import Connection, Subscription
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.fanout.publisher import Batch, Delta, LogEntry
from rooms.fanout.topic import Source, Topic
from rooms.fanout.transport import Frame, Write
from rooms.protocol.events import MessageDelta, encode

ROOM, ANSWER, RUN = UUID(int=1), UUID(int=2), UUID(int=3)


@dataclass
class FakeStore:
    """The log and the replay, as they would be read when something was lost."""

    log: list[LogEntry] = field(default_factory=list)
    deltas: list[str] = field(default_factory=list)
    reads: int = 0

    def source(self) -> Source:
        return Source(self._last_seqs, self._events_after, self._deltas, self._ended)

    async def _last_seqs(self, rooms: list[UUID]) -> dict[UUID, int]:
        return {ROOM: len(self.log)}

    async def _events_after(self, room: UUID, after: int) -> list[LogEntry]:
        self.reads += 1
        await asyncio.sleep(0)
        return self.log[after:]

    async def _ended(self, joined: RoomsByCredential) -> set[Credential]:
        return set()

    async def _deltas(self, message: UUID, attempt: int, since: int) -> list[str]:
        self.reads += 1
        await asyncio.sleep(0)
        return self.deltas[since:]


def durable(seq: int, kind: str = "room.changed", **fields: object) -> LogEntry:
    frame = {"type": kind, "room": ROOM, "seq": seq, **fields}
    return LogEntry(seq, kind, msgspec.json.encode(frame))


def change(*durables: LogEntry) -> Batch:
    return Batch(ROOM, list(durables))


def delta(seq: int, text: str, *, attempt: int = 1, base: int = 0) -> Delta:
    event = MessageDelta(room=ROOM, message=ANSWER, run=RUN, attempt=attempt, seq=seq, text=text)
    return Delta(ROOM, ANSWER, attempt, seq, base, encode(event))


def begun(seq: int, attempt: int = 1) -> LogEntry:
    return durable(seq, "run.started", run={"answer": ANSWER, "attempt": attempt})


def ended(seq: int) -> LogEntry:
    return durable(seq, "message.completed", message={"id": ANSWER, "run": RUN})


def payload_of(wire: bytes) -> bytes:
    """Return what stands behind the header of a frame; a length may look like a brace."""
    return wire[{126: 4, 127: 10}.get(wire[1], 2) :]


class FakeClient:
    """A socket that keeps what it is sent; it can be made not to read, or to be no transport."""

    def __init__(self, user: UUID | None = None, *, direct: bool = True) -> None:
        self.received: list[dict[str, object]] = []
        self.closed: list[int] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.direct = direct
        self.aborted = False
        self.sends = 0
        self.written = 0
        self.stalled: Callable[[], None] = lambda: None
        self.connection = Connection(Credential(user or uuid4()), self, self._close)

    def stop_reading(self) -> None:
        self.reading.clear()
        self.stalled()

    def write(self, frame: Frame) -> bool:
        if not self.direct or not self.reading.is_set():
            return False
        self._hear(frame)
        return True

    def writer(self, stalled: Callable[[], None]) -> Write | None:
        if not self.direct or not self.reading.is_set():
            return None
        self.stalled = stalled
        return self._hear_wire

    async def send(self, frames: Sequence[Frame]) -> None:
        await self.reading.wait()
        self.sends += 1
        for frame in frames:
            self._hear(frame)

    def abort(self) -> None:
        self.aborted = True

    def _hear(self, frame: Frame) -> None:
        assert frame.wire.endswith(frame.payload)
        self._keep(frame.payload)

    def _hear_wire(self, wire: bytes) -> None:
        self.written += 1
        self._keep(payload_of(wire))

    def _keep(self, payload: bytes) -> None:
        self.received.append(msgspec.json.decode(payload))

    async def _close(self, code: int) -> None:
        self.closed.append(code)

    @property
    def seqs(self) -> list[object]:
        return [frame["seq"] for frame in self.received if frame["type"] != "message.delta"]

    @property
    def text(self) -> str:
        return "".join(str(f["text"]) for f in self.received if f["type"] == "message.delta")


def opened(store: FakeStore) -> Topic:
    topic = Topic(ROOM, lambda room, user: None)
    topic.seq, topic.opened = len(store.log), True
    return topic


def listen(topic: Topic, client: FakeClient, seq: int = -1) -> Subscription:
    subscription = topic.add(client.connection)
    subscription.begin(seq, {})
    return subscription


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until it is so."""
    for _turn in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise TimeoutError
