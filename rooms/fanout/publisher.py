"""Publishes the events of rooms to the hubs of all processes.

The channel layer delivers at most once and may drop messages without an error. Hubs recover lost
durable events from the log, and lost deltas from the delta store.
"""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import transaction
from msgspec import Struct

from rooms.fanout.credentials import Credential
from rooms.redis_clients import best_effort_sync

log = structlog.get_logger(__name__)

BACKLOG_LIMIT: Final = 10_000
SEND_SECONDS: Final = 5
READS_SECONDS: Final = 0.25
PUBLISHED_AT: Final = "at"
"""The key of the Unix time of publication in a message of the layer, by the publisher's clock."""
EVERYWHERE: Final = "everywhere"
"""The group that every hub joins."""


class LogEntry(Struct, frozen=True, gc=False, array_like=True):
    """An event of the log: its seq, its type, and the JSON that every client receives."""

    seq: int
    type: str
    frame: bytes


class Batch(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """The events that one transaction recorded in one room, in order."""

    room: UUID
    entries: list[LogEntry]


class Delta(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """More text of an unfinished answer. `base` is the room's seq at which the attempt started."""

    room: UUID
    message: UUID
    attempt: int
    seq: int
    base: int
    frame: bytes


class Ephemeral(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A frame that is not stored and not repeated: typing, a position in the queue, tool use."""

    room: UUID
    frame: bytes


class PresenceChanged(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """A user has entered or left a room."""

    room: UUID
    frame: bytes
    user: UUID
    online: bool


class ActivityHint(Struct, frozen=True, array_like=True, tag=True):
    """A room has a new message; for members whose connections are not subscribed to the room."""

    room: UUID


class ReadPositionsChanged(Struct, frozen=True, array_like=True, tag=True):
    """Users have read rooms: `users` by room; for their connections that have not joined it."""

    users: dict[UUID, list[UUID]]


class CredentialRevoked(Struct, frozen=True, array_like=True, tag=True):
    """The named token or session was revoked; if neither is named, every credential of the user."""

    user: UUID
    token: UUID | None = None
    session: str | None = None

    def covers(self, credential: Credential) -> bool:
        """Return True if this message revokes `credential`."""
        if credential.user_id != self.user:
            return False
        if self.token is not None:
            return credential.token_id == self.token
        return self.session is None or credential.session_key == self.session


RoomEnvelope = Batch | Delta | Ephemeral | PresenceChanged
ProcessEnvelope = ActivityHint | ReadPositionsChanged | CredentialRevoked
Envelope = RoomEnvelope | ProcessEnvelope

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)


def group_of(room_id: UUID) -> str:
    """Return the name of the room's group on the layer; each room has its own group."""
    return f"room.{room_id.hex}"


def decode(message: dict[str, Any]) -> Envelope:
    """Return the envelope of a message of the layer."""
    return _decoder.decode(message["envelope"])


class Publisher:
    """The only sender of this process: messages leave in the order in which they were published.

    `run` must be running on an event loop; `publish` may then be called from any thread.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0  # that runs `run`
        self._is_sending = False
        self._send_now: Callable[[str, dict[str, Any]], bool] = _never
        self._backlog: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self._reads: defaultdict[UUID, list[UUID]] = defaultdict(list)

    async def run(self) -> None:
        """Send published messages until cancelled. A message that fails is logged and dropped."""
        layer: Any = get_channel_layer()
        self._backlog = asyncio.Queue(BACKLOG_LIMIT)
        self._thread = threading.get_ident()
        self._loop = asyncio.get_running_loop()
        # Only the Redis layer can send without waiting.
        self._send_now = getattr(layer, "group_send_now", _never)
        try:
            while True:
                group, message = await self._backlog.get()
                self._is_sending = True
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        await layer.group_send(group, message)
                except Exception as error:  # of any kind: the next message may succeed
                    log.warning("broadcast.lost", group=group, error=type(error).__name__)
                finally:
                    self._is_sending = False
        finally:
            self._loop = None
            self._send_now = _never

    def publish(self, envelope: Envelope) -> None:
        """Send an envelope to the hubs. Returns at once and never raises.

        Without `run`, in a management command, the message is sent before the return: there may
        be servers that are subscribed on Redis. An in-memory layer has no subscribers then.
        """
        group = EVERYWHERE if isinstance(envelope, ProcessEnvelope) else group_of(envelope.room)
        message = {
            "type": "envelope",
            "envelope": _encoder.encode(envelope),
            PUBLISHED_AT: time.time(),
        }
        loop = self._loop  # read once: `run` may end in its thread between two reads
        if loop is not None:
            if threading.get_ident() == self._thread:
                self._enqueue(group, message)
                return
            # RuntimeError: the loop was closed, so this process has no publisher any more.
            with suppress(RuntimeError):
                # The layer's queues are not thread-safe.
                loop.call_soon_threadsafe(self._enqueue, group, message)
                return
        layer: Any = get_channel_layer()
        if isinstance(layer, InMemoryChannelLayer):
            return
        # Not `async_to_sync(layer.group_send)`: each call has a new event loop, and the layer would
        # open, and never close, a connection for each of them.
        best_effort_sync(lambda: layer.group_send_blocking(group, message), None)

    def publish_read(self, room: UUID, user: UUID) -> None:
        """Publish that a user has read a room, with all other reads of READS_SECONDS.

        Each member who has a room open reads each of its messages.
        """
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # as in `publish`
                loop.call_soon_threadsafe(self._collect_read, loop, room, user)

    def _collect_read(self, loop: asyncio.AbstractEventLoop, room: UUID, user: UUID) -> None:
        if not self._reads:
            loop.call_later(READS_SECONDS, self._publish_reads)
        self._reads[room].append(user)

    def _publish_reads(self) -> None:
        reads, self._reads = self._reads, defaultdict(list)
        self.publish(ReadPositionsChanged(dict(reads)))

    def _enqueue(self, group: str, message: dict[str, Any]) -> None:
        """Send a message at once if no earlier message waits, otherwise after the others."""
        if self._backlog.empty() and not self._is_sending and self._send_now(group, message):
            return
        try:
            self._backlog.put_nowait((group, message))
        except asyncio.QueueFull:
            log.warning("broadcast.backlog_full", group=group)


def _never(group: str, message: dict[str, Any]) -> bool:
    return False


publisher = Publisher()
publish = publisher.publish


def publish_on_commit(envelope: Envelope) -> None:
    """Publish once the current transaction has committed; not at all if it is rolled back."""
    transaction.on_commit(partial(publisher.publish, envelope))
