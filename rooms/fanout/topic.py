"""A room that this process is subscribed to: order, gaps and revocation.

The channel layer may drop, repeat and reorder messages. A topic has a position in the room's log
and in each unfinished answer. A message that does not continue its position is either a duplicate,
which is dropped, or it shows a gap, which is filled from the log and the delta store before
anything else is delivered.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from accounts.errors import is_outage
from rooms import metrics
from rooms.fanout.credentials import Credential, RoomsByCredential
from rooms.fanout.delivery import RING_ITEMS, Delivery, Item
from rooms.fanout.positions import Position, Positions
from rooms.fanout.publisher import (
    Batch,
    Delta,
    Ephemeral,
    LogEntry,
    PresenceChanged,
    RoomEnvelope,
)
from rooms.fanout.transport import Frame
from rooms.models import MessageStatus
from rooms.protocol.compact import compact_delta, compact_started
from rooms.protocol.events import MessageDelta, RoomRemoved, encode

log = structlog.get_logger(__name__)

ANSWER_ENDS: Final = frozenset({"message.completed", "message.updated"})
"""The types of the events that may end an answer: see `_has_ended`."""
DECODED: Final = ANSWER_ENDS | {"member.removed", "run.started"}
"""The types of events that the topic decodes; all others are forwarded as bytes."""


class Source(Struct, frozen=True):
    """The reads with which the hub fills gaps and checks its state. Each runs in a thread."""

    last_seqs: Callable[[list[UUID]], Awaitable[dict[UUID, int]]]
    events_after: Callable[[UUID, int], Awaitable[list[LogEntry]]]
    deltas: Callable[[UUID, int, int], Awaitable[list[str]]]
    revoked: Callable[[RoomsByCredential], Awaitable[set[Credential]]]


class _Message(Struct):
    id: UUID
    run: UUID | None = None
    status: str = ""


class _Run(Struct):
    attempt: int
    answer: UUID | None = None


class _Event(Struct):
    """The fields of a durable event that a topic needs."""

    message: _Message | None = None
    run: _Run | None = None
    user: UUID | None = None


_decoder = msgspec.json.Decoder(_Event)


def _has_ended(message: _Message) -> bool:
    """Return False for a streaming answer: `message.updated` also reports its pin."""
    return message.status != MessageStatus.STREAMING


def _ended_answer(entry: LogEntry) -> _Message | None:
    """Return the message that `entry` shows without the status streaming, or None."""
    if entry.type not in ANSWER_ENDS:
        return None
    message = _decoder.decode(entry.frame).message
    return message if message is not None and _has_ended(message) else None


class Gap(Struct, frozen=True):
    """A read that must be made before delivery can continue.

    It is exactly one of these: the log after `after`; the deltas from `since` up to `delta`; the
    last deltas of an answer before its end `ending`.
    """

    after: int = 0
    delta: Delta | None = None
    since: int = 0
    ending: LogEntry | None = None


class GapUnfilled(Exception):
    """The log does not contain an event that was announced."""


class Topic:
    """A room that this process is subscribed to. Runs on the event loop."""

    def __init__(
        self, room_id: UUID, source: Source, on_leave: Callable[[UUID, UUID], None]
    ) -> None:
        """`on_leave(room_id, user_id)` is called for each connection that loses its access."""
        self.room_id = room_id
        self.positions = Positions()
        self.delivery = Delivery(room_id, self.positions)
        self.lock = asyncio.Lock()  # held while the hub opens the topic, subscribes or closes it
        self.ready = False  # once the position is known; until then messages are only buffered
        self.subscribed = False  # at the channel layer; until then the checks deliver the log
        self._source = source
        self._on_leave = on_leave
        # A message dropped from the full buffer leaves a gap, which is filled like any other.
        self._pending: deque[RoomEnvelope] = deque(maxlen=RING_ITEMS)
        self._recovery: asyncio.Task[None] | None = None
        self._last_checked = -1
        self._advanced = asyncio.Event()

    @property
    def idle(self) -> bool:
        """True if no gap is being filled."""
        return self._recovery is None

    def start(self, seq: int) -> None:
        """Start delivery after `seq` of the log."""
        self.positions.seq, self.ready = seq, True
        self._process_pending()

    def close(self) -> None:
        """Stop filling gaps."""
        if self._recovery is not None:
            self._recovery.cancel()

    async def wait_for(self, seq: int) -> None:
        """Return once the log has been delivered up to `seq`."""
        while self.positions.seq < seq:
            self._advanced.clear()
            await self._advanced.wait()

    # Order

    def receive(self, envelope: RoomEnvelope) -> None:
        """Deliver a message of the channel layer, or buffer it while a gap is being filled."""
        self._pending.append(envelope)
        if self._recovery is None and self.ready:
            self._process_pending()

    def _process_pending(self) -> None:
        """Deliver the buffered messages; at a gap, start the task that fills it and stop."""
        while self._pending:
            try:
                gap = self._apply(self._pending[0])
            except Exception:  # the next check delivers the events of this message
                log.exception("hub.envelope_failed", room=str(self.room_id))
                gap = None
            if gap is not None:
                self._recovery = asyncio.create_task(self._fill(gap))
                return
            self._pending.popleft()

    def check(self, last_seq: int) -> None:
        """Read missing events, up to the previous check: a lost last message leaves no gap.

        An event that is newer than the previous check may still arrive, after deltas. If it were
        read from the log now, the end of an answer would be delivered before these deltas.
        """
        due, self._last_checked = self._last_checked, last_seq
        if due > self.positions.seq and self._recovery is None and self.ready:
            self._recovery = asyncio.create_task(self._fill(Gap(after=self.positions.seq)))

    def _apply(self, envelope: RoomEnvelope) -> Gap | None:
        match envelope:
            case Delta():
                return self._apply_delta(envelope)
            case Batch(entries=entries):
                for entry in entries:
                    if entry.seq > self.positions.seq + 1:
                        return Gap(after=self.positions.seq)
                    if entry.seq == self.positions.seq + 1:
                        if self._ends_unfinished_answer(entry):
                            return Gap(ending=entry)
                        self._advance(entry)
            case Ephemeral(frame=frame) | PresenceChanged(frame=frame):
                self.delivery.deliver(Item(Frame.of(frame)))
        return None

    def _ends_unfinished_answer(self, entry: LogEntry) -> bool:
        """Return True if `entry` ends an answer that is streaming.

        A dropped last delta leaves no gap in the deltas' seqs, so the delta store must be read
        before the end is delivered.
        """
        message = _ended_answer(entry)
        return message is not None and self._position(message.id) is not None

    def _apply_delta(self, delta: Delta) -> Gap | None:
        if delta.base > self.positions.seq:
            return Gap(after=self.positions.seq)
        position = self.positions.answers.get(delta.message)
        if position is not None and position.precedes(delta.attempt, delta.seq):
            # Hot path: updated in place, because each look-up of a UUID is two calls of Python.
            position.seq, position.base = delta.seq, delta.base
            self._deliver_delta(delta)
            return None
        return self._apply_unexpected(delta, position)

    def _apply_unexpected(self, delta: Delta, position: Position | None) -> Gap | None:
        """Apply a delta that does not follow the last one: a first, repeated, late or early one."""
        if position is None:
            if delta.message in self.positions.ended:
                return None
            position = self._position(delta.message)
        if position is None:
            attempt, seq = delta.attempt, delta.seq - 1  # take the first delta as the start
        elif position.attempt < delta.attempt:
            attempt, seq = delta.attempt, -1
        else:
            attempt, seq = position.attempt, position.seq
        if attempt == delta.attempt and delta.seq > seq + 1:
            return Gap(delta=delta, since=seq + 1)
        if (delta.attempt, delta.seq) > (attempt, seq):
            self._advance_answer(delta)
        return None

    def _position(self, message: UUID) -> Position | None:
        """Return the position of an answer, or None if it is unknown or has ended.

        For an answer that began before this topic it is the earliest position of the snapshots.
        """
        if message in self.positions.answers or message in self.positions.ended:
            return self.positions.answers.get(message)
        of_snapshots = [
            subscription.answers[message]
            for subscription in self.delivery.subscriptions.values()
            if message in subscription.answers
        ]
        return Position(*min(of_snapshots), base=0) if of_snapshots else None

    def _advance(self, entry: LogEntry) -> None:
        """Deliver the next event of the log, and update the state of this topic."""
        event = _decoder.decode(entry.frame) if entry.type in DECODED else _Event()
        self.positions.seq = entry.seq
        if entry.type == "member.removed":
            self._revoke(event.user)  # first: the removed member does not receive this event
        compact = None
        if entry.type == "run.started" and self.delivery.compact:
            compact = Frame.of(compact_started(entry.frame, self.delivery.streams.of))
        self.delivery.deliver(Item(Frame.of(entry.frame), compact, seq=entry.seq))
        if entry.type == "room.deleted":
            self._revoke(None)
        elif event.run is not None and event.run.answer is not None:
            self.positions.answers[event.run.answer] = Position(
                event.run.attempt, -1, self.positions.seq
            )
        elif entry.type in ANSWER_ENDS and event.message is not None and _has_ended(event.message):
            self.positions.end_answer(event.message.id)
            self.delivery.streams.end(event.message.id)
        self._advanced.set()

    def _advance_answer(self, delta: Delta) -> None:
        self.positions.answers[delta.message] = Position(delta.attempt, delta.seq, delta.base)
        self._deliver_delta(delta)

    def _deliver_delta(self, delta: Delta) -> None:
        position = (delta.message, delta.attempt, delta.seq)
        compact = None
        if self.delivery.compact:
            stream = self.delivery.streams.of(delta.message, delta.attempt)
            compact = Frame.of(compact_delta(delta.frame, stream, delta.seq))
        self.delivery.deliver(
            Item(Frame.of(delta.frame), compact, position=position, base=delta.base)
        )

    def _revoke(self, user_id: UUID | None) -> None:
        """End the subscriptions of a user (None: of all users). Unsent items stay unsent."""
        for subscription in list(self.delivery.subscriptions.values()):
            connection = subscription.connection
            if user_id not in (None, connection.user_id):
                continue
            if subscription.started and subscription.seq >= self.positions.seq:
                continue  # removed and added again: the snapshot was read after the removal
            subscription.revoked = True
            self.delivery.remove(connection)
            if connection.subscriptions.pop(self.room_id, None) is not None:
                self._on_leave(self.room_id, connection.user_id)
                connection.send(encode(RoomRemoved(room=self.room_id)))

    # Gaps

    async def _fill(self, gap: Gap) -> None:
        try:
            if gap.ending is not None:
                await self._read_tail(gap.ending)
                self._advance(gap.ending)
            elif gap.delta is not None:
                metrics.HEALED.labels("replay").inc()
                event = msgspec.json.decode(gap.delta.frame, type=MessageDelta)
                first = msgspec.structs.replace(event, seq=gap.since)
                await self._read_deltas(first, gap.delta.base, until=gap.delta.seq)
                # Deltas that the store has lost are skipped: clients detect the gap and join again.
                reached = Position(gap.delta.attempt, gap.delta.seq - 1, gap.delta.base)
                self.positions.answers[gap.delta.message] = reached
            else:
                metrics.HEALED.labels("log").inc()
                await self._read_log(gap.after)
        except Exception as error:  # a store is unavailable or behind: the next check retries
            log.warning(
                "hub.gap_unfilled",
                room=str(self.room_id),
                error=type(error).__name__,
                exc_info=not (is_outage(error) or isinstance(error, GapUnfilled)),
            )
            self._pending.clear()
        self._recovery = None
        self._process_pending()

    async def _read_log(self, after: int) -> None:
        """Deliver the log after `after`; raise GapUnfilled if it has nothing new."""
        before = self.positions.seq
        while entries := await self._source.events_after(self.room_id, after):
            for entry in entries:
                if entry.seq == self.positions.seq + 1:
                    await self._read_tail(entry)
                    self._advance(entry)
            after = entries[-1].seq
        if self.positions.seq == before:
            raise GapUnfilled

    async def _read_tail(self, entry: LogEntry) -> None:
        """If `entry` ends an answer, deliver the stored deltas before it."""
        message = _ended_answer(entry)
        if message is None or message.run is None:
            return
        position = self._position(message.id)
        if position is not None:
            first = MessageDelta(
                room=self.room_id,
                message=message.id,
                run=message.run,
                attempt=position.attempt,
                seq=position.seq + 1,
                text="",
            )
            await self._read_deltas(first, position.base)

    async def _read_deltas(self, first: MessageDelta, base: int, until: int | None = None) -> None:
        """Deliver the stored deltas of an answer from `first.seq` to `until` (None: to the last).

        An error of the delta store is logged and ignored, because the end of the answer contains
        the whole text.
        """
        try:
            texts = await self._source.deltas(first.message, first.attempt, first.seq)
        except Exception as error:
            log.warning(
                "hub.deltas_unavailable", message=str(first.message), error=type(error).__name__
            )
            return
        for seq, text in enumerate(texts, start=first.seq):
            if seq == until:
                return
            frame = encode(msgspec.structs.replace(first, seq=seq, text=text))
            self._advance_answer(
                Delta(self.room_id, first.message, first.attempt, seq, base, frame)
            )
