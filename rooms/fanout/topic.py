"""A room with sockets in this process: what arrives of it, put in order.

A topic has a position in the room's log and in each answer that is being written. What does not
fit that position is dropped, or fetched from the log and the replay before anything else goes on.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from rooms import metrics
from rooms.fanout.connection import Connection, Subscription
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.fanout.publisher import Batch, Delta, Ephemeral, LogEntry, PresenceChanged, RoomEnvelope
from rooms.fanout.transport import Frame, Write
from rooms.protocol.events import MessageDelta, RoomRemoved, encode

log = structlog.get_logger(__name__)

RING: Final = 4_096
RING_BYTES: Final = 4 * 2**20
ENDED: Final = 256
FAILED: Final = 1011
ENDINGS: Final = frozenset({"message.completed", "message.updated"})
GONE: Final = "room.deleted"
CONCERNING: Final = ENDINGS | {"member.removed", "run.started"}  # the hub itself


class Source(Struct, frozen=True):
    """What the hub reads when the layer has dropped something; crosses to threads by itself."""

    last_seqs: Callable[[list[UUID]], Awaitable[dict[UUID, int]]]
    events_after: Callable[[UUID, int], Awaitable[list[LogEntry]]]
    deltas: Callable[[UUID, int, int], Awaitable[list[str]]]
    ended: Callable[[RoomsByCredential], Awaitable[set[Credential]]]


class _Message(Struct):
    id: UUID
    run: UUID | None = None


class _Run(Struct):
    attempt: int
    answer: UUID | None = None


class _About(Struct):
    """The parts of a durable frame that the hub itself has to know."""

    message: _Message | None = None
    run: _Run | None = None
    user: UUID | None = None


_about = msgspec.json.Decoder(_About)


class Item(Struct, frozen=True, gc=False):
    """A frame in the ring, with its place in the log or in an answer."""

    frame: Frame
    seq: int | None = None
    position: tuple[UUID, int, int] | None = None
    base: int = 0


class Position(Struct, frozen=True, gc=False):
    """How far an answer has been passed on, and the room's seq at which that attempt started."""

    attempt: int
    seq: int
    base: int


class Gap(Struct, frozen=True):
    """What has to be fetched: the log after a seq, the deltas up to one, or up to an end."""

    after: int = 0
    delta: Delta | None = None
    since: int = 0
    ending: LogEntry | None = None


class GapUnfilled(Exception):
    """The log has nothing where something was announced."""


class Topic:
    """A room with sockets in this process."""

    def __init__(self, room_id: UUID, left: Callable[[UUID, UUID], None]) -> None:
        self.room_id = room_id
        self._left = left
        self.subscriptions: set[Subscription] = set()
        self.front: dict[Subscription, Write] = {}
        self._behind: set[Subscription] = set()
        self._followed = -1
        self.seq = -1
        self.end = 0
        self._due = -1
        self.lock = asyncio.Lock()
        self.opened = False
        self.heard = False
        self.moved = asyncio.Event()
        self._ring: deque[Item] = deque()
        self._ring_bytes = 0
        self._answers: dict[UUID, Position] = {}
        self._ended: dict[UUID, None] = {}
        self._held: deque[RoomEnvelope] = deque(
            maxlen=RING
        )  # what falls out of it is a hole like others
        self._task: asyncio.Task[None] | None = None

    def item(self, index: int) -> Item:
        """Return the item with this running number; IndexError if it is not kept any more."""
        offset = index - (self.end - len(self._ring))
        if offset < 0:
            raise IndexError(index)
        return self._ring[offset]

    # What arrives

    def take(self, envelope: RoomEnvelope, source: Source) -> None:
        """Take in what the layer brought. Never waits: holes are filled in a task of the topic."""
        self._held.append(envelope)
        if self._task is None and self.opened:
            self.work(source)

    def work(self, source: Source) -> None:
        """Pass on what is held, and start a task where something has to be fetched first."""
        while self._held:
            missing = self._try(self._held[0])
            if missing is not None:
                self._task = asyncio.create_task(self._fetch(missing, source))
                return
            self._held.popleft()

    def check(self, last_seq: int, source: Source) -> None:
        """Compare with the log: a lost last message shows in nothing else.

        What is new since the last check may well be on its way, behind deltas that must not be
        overtaken by the end of their answer; only what was due then already is fetched.
        """
        due, self._due = self._due, last_seq
        if due > self.seq and self._task is None and self.opened:
            self._task = asyncio.create_task(self._fetch(Gap(after=self.seq), source))

    async def reached(self, seq: int) -> None:
        """Return when everything up to `seq` has been passed on."""
        while self.seq < seq:
            self.moved.clear()
            await self.moved.wait()

    @property
    def idle(self) -> bool:
        """Whether nothing is being fetched."""
        return self._task is None

    def close(self) -> None:
        """Fetch nothing more."""
        if self._task is not None:
            self._task.cancel()

    def _try(self, envelope: RoomEnvelope) -> Gap | None:
        """Apply what is held next; one that fails must not keep back all that come after it."""
        try:
            return self._apply(envelope)
        except Exception:  # logged, and what it brought is found missing by the next check
            log.exception("hub.envelope_failed", room=str(self.room_id))
            return None

    def _apply(self, envelope: RoomEnvelope) -> Gap | None:
        match envelope:
            case Batch(entries=entries):
                return self._apply_change(entries)
            case Delta():
                return self._apply_delta(envelope)
            case Ephemeral(frame=frame) | PresenceChanged(frame=frame):
                self._add(Item(Frame.of(frame)))
        return None

    def _apply_change(self, entries: list[LogEntry]) -> Gap | None:
        for durable in entries:
            if durable.seq > self.seq + 1:
                return Gap(after=self.seq)
            if durable.seq == self.seq + 1:
                if self._may_lack_a_tail(durable):
                    return Gap(ending=durable)
                self._pass_on(durable)
        return None

    def _may_lack_a_tail(self, durable: LogEntry) -> bool:
        """Whether it ends an answer that is being followed: a lost last delta shows in nothing."""
        if durable.type not in ENDINGS:
            return False
        message = _about.decode(durable.frame).message
        return message is not None and self._reached(message.id) is not None

    def _apply_delta(self, delta: Delta) -> Gap | None:
        if delta.base > self.seq:
            return Gap(after=self.seq)
        if delta.message in self._ended:
            return None
        reached = self._reached(delta.message)
        attempt, seq = (
            (delta.attempt, delta.seq - 1) if reached is None else (reached.attempt, reached.seq)
        )
        if attempt < delta.attempt:
            attempt, seq = delta.attempt, -1
        if attempt == delta.attempt and delta.seq > seq + 1:
            return Gap(delta=delta, since=seq + 1)
        if (delta.attempt, delta.seq) > (attempt, seq):
            self._pass_on_delta(delta)
        return None

    def _pass_on(self, durable: LogEntry) -> None:
        about = _about.decode(durable.frame) if durable.type in CONCERNING else _About()
        self.seq = durable.seq
        if durable.type == "member.removed":
            self._revoke(about.user)  # not even of this one they hear
        self._add(Item(Frame.of(durable.frame), seq=durable.seq))
        if durable.type == GONE:
            self._revoke(None)
        elif durable.type == "run.started":
            self._begin_answer(about.run)
        elif durable.type in ENDINGS:
            self._end_answer(about.message)
        self.moved.set()

    def _pass_on_delta(self, delta: Delta) -> None:
        self._answers[delta.message] = Position(delta.attempt, delta.seq, delta.base)
        position = (delta.message, delta.attempt, delta.seq)
        self._add(Item(Frame.of(delta.frame), position=position, base=delta.base))

    def _begin_answer(self, run: _Run | None) -> None:
        if run is not None and run.answer is not None:
            self._answers[run.answer] = Position(run.attempt, -1, self.seq)

    def _end_answer(self, message: _Message | None) -> None:
        """Whatever is still on its way of an ended answer comes too late."""
        if message is None:
            return
        self._answers.pop(message.id, None)
        self._ended[message.id] = None
        if len(self._ended) > ENDED:
            del self._ended[next(iter(self._ended))]

    def _revoke(self, user_id: UUID | None) -> None:
        """Take the room off the sockets of whoever was removed; what they lack stays unsent.

        None is everybody.
        """
        theirs = [s for s in self.subscriptions if user_id in (None, s.connection.user_id)]
        for subscription in theirs:
            if subscription.begun and subscription.seq >= self.seq:
                continue  # removed and back again: the snapshot is of after that
            subscription.revoked = True
            self.drop(subscription)
            if subscription.connection.subscriptions.pop(self.room_id, None) is not None:
                self._left(self.room_id, subscription.connection.user_id)
                subscription.connection.send(encode(RoomRemoved(room=self.room_id)))

    def _add(self, item: Item) -> None:
        self._ring.append(item)
        self._ring_bytes += len(item.frame.wire)
        self.end += 1
        while len(self._ring) > RING or (self._ring_bytes > RING_BYTES and len(self._ring) > 1):
            self._drop_oldest()
        behind = list(self._behind)
        self._write(item)
        for subscription in behind:
            try:
                subscription.offer(item)
            except Exception:  # one socket's failure is its own
                log.exception("socket.failed")
                subscription.connection.close(FAILED)

    def _write(self, item: Item) -> None:
        """Write an item to all who are in the front; nothing else happens once for each socket."""
        wire, to_all = item.frame.wire, self._is_new_to_the_front(item)
        for subscription, write in list(self.front.items()):
            try:
                if to_all or subscription.lacks(item):
                    write(wire)
            except (
                Exception
            ):  # of one socket, which is closed: the others are to hear it all the same
                log.exception("socket.failed")
                subscription.connection.close(FAILED)

    def _is_new_to_the_front(self, item: Item) -> bool:
        """Whether it is in no snapshot of those in front: an answer that began before we were
        there to hear its end may be in some.
        """
        return item.position is None or item.base > self._followed

    def has_passed(self, seq: int, live: dict[UUID, tuple[int, int]]) -> bool:
        """Whether nothing that may still come is in a snapshot that was taken here."""
        return self.seq >= seq and all(
            message in self._ended or self._position(message) >= position
            for message, position in live.items()
        )

    def _position(self, message: UUID) -> tuple[int, int]:
        reached = self._answers.get(message)
        return (0, -1) if reached is None else (reached.attempt, reached.seq)

    def bring_to_front(self, subscription: Subscription, write: Write) -> None:
        """Write whatever comes, from now on, for a socket that lacks nothing."""
        if subscription in self.subscriptions:
            if self._followed < 0:
                self._followed = self.seq
            self._behind.discard(subscription)
            self.front[subscription] = write

    def fall_behind(self, subscription: Subscription) -> bool:
        """Write nothing more at once for a socket; whether that had been done."""
        if self.front.pop(subscription, None) is None:
            return False
        self._behind.add(subscription)
        return True

    def add(self, connection: Connection) -> Subscription:
        """Take in a socket, which is told of nothing before `Subscription.begin`."""
        subscription = Subscription(self, connection)
        self.subscriptions.add(subscription)
        self._behind.add(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """Write nothing more for a socket."""
        self.front.pop(subscription, None)
        self._behind.discard(subscription)
        self.subscriptions.discard(subscription)

    def trim(self) -> None:
        """Keep only what somebody still lacks: of a quiet room, that is nothing."""
        oldest = min((each.cursor for each in self._behind), default=self.end)
        while self.end - len(self._ring) < oldest:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._ring_bytes -= len(self._ring.popleft().frame.wire)

    # What is missing

    async def _fetch(self, missing: Gap, source: Source) -> None:
        try:
            if missing.ending is not None:
                await self._fetch_tail(missing.ending, source)
                self._pass_on(missing.ending)
            elif missing.delta is not None:
                metrics.HEALED.labels("replay").inc()
                await self._fetch_deltas(missing.delta, missing.since, source)
            else:
                metrics.HEALED.labels("log").inc()
                await self._fetch_events(missing.after, source)
        except Exception as error:  # the store is away, or behind: the check comes round again
            log.warning("hub.unhealed", room=str(self.room_id), error=type(error).__name__)
            self._held.clear()
        self._task = None
        self.work(source)

    async def _fetch_events(self, after: int, source: Source) -> None:
        """Pass on what the log has after a seq; GapUnfilled if that leaves us where we were."""
        before = self.seq
        while events := await source.events_after(self.room_id, after):
            for durable in events:
                if durable.seq == self.seq + 1:
                    await self._fetch_tail(durable, source)
                    self._pass_on(durable)
            after = events[-1].seq
        if self.seq == before:
            raise GapUnfilled

    async def _fetch_tail(self, ending: LogEntry, source: Source) -> None:
        """Pass on the last deltas of an answer before its end, which has overtaken them here."""
        message = _about.decode(ending.frame).message if ending.type in ENDINGS else None
        if message is None or message.run is None:
            return
        reached = self._reached(message.id)
        if reached is None:
            return
        since = reached.seq + 1
        if texts := await self._kept(source, message.id, reached.attempt, since):
            first = MessageDelta(
                room=self.room_id,
                message=message.id,
                run=message.run,
                attempt=reached.attempt,
                seq=since,
                text=texts[0],
            )
            self._pass_on_texts(first, texts, reached.base)

    def _reached(self, message: UUID) -> Position | None:
        """Return how far an answer is; one that began before we listened is where snapshots are."""
        if message in self._answers or message in self._ended:
            return self._answers.get(message)
        shown = [s.live[message] for s in self.subscriptions if message in s.live]
        return Position(*min(shown), base=0) if shown else None

    async def _fetch_deltas(self, delta: Delta, since: int, source: Source) -> None:
        """Fill the hole before a delta; if the replay has lost it, clients see it and ask again."""
        texts = await self._kept(source, delta.message, delta.attempt, since)
        event = msgspec.json.decode(delta.frame, type=MessageDelta)
        first = msgspec.structs.replace(event, seq=since)
        self._pass_on_texts(first, texts[: delta.seq - since], delta.base)
        self._answers[delta.message] = Position(delta.attempt, delta.seq - 1, delta.base)

    async def _kept(self, source: Source, message: UUID, attempt: int, since: int) -> list[str]:
        """Return what the replay has; nothing waits for it where it fails."""
        try:
            return await source.deltas(message, attempt, since)
        except Exception as error:
            log.warning("hub.no_replay", message=str(message), error=type(error).__name__)
            return []

    def _pass_on_texts(self, first: MessageDelta, texts: list[str], base: int) -> None:
        """Pass on deltas from the replay, numbered from the first one's seq on."""
        for seq, text in enumerate(texts, start=first.seq):
            event = msgspec.structs.replace(first, seq=seq, text=text)
            self._pass_on_delta(
                Delta(self.room_id, event.message, event.attempt, seq, base, frame=encode(event))
            )
