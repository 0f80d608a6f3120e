"""Carries what happens in a room from whoever did it to the hub of every process.

The layer underneath delivers at most once and drops in silence. That is all we ask of it: durable
events can be read again from the log, deltas from the replay.
"""

import asyncio
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.db import transaction
from msgspec import Struct

from rooms.fanout.credentials import Credential

log = structlog.get_logger(__name__)

BACKLOG_LIMIT: Final = 10_000
SEND_SECONDS: Final = 5
EVERYWHERE: Final = "everywhere"


class LogEntry(Struct, frozen=True, gc=False, array_like=True):
    """An event of the log: its seq, its type, and the finished JSON that goes to every socket."""

    seq: int
    type: str
    frame: bytes


class Batch(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """What one transaction recorded in one room, in order."""

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
    """Something that is worth nothing later: typing, presence, a place in line."""

    room: UUID
    frame: bytes


class PresenceChanged(Struct, frozen=True, gc=False, array_like=True, tag=True):
    """Somebody has come into a room, or gone."""

    room: UUID
    frame: bytes
    user: UUID
    online: bool


class ActivityHint(Struct, frozen=True, array_like=True, tag=True):
    """Something was said in a room; for the members who are elsewhere."""

    room: UUID


class CredentialRevoked(Struct, frozen=True, array_like=True, tag=True):
    """A credential has ended: all of a user's, or the one token or session that is named."""

    user: UUID
    token: UUID | None = None
    session: str | None = None

    def covers(self, credential: Credential) -> bool:
        """Whether it is this credential that has ended."""
        if credential.user_id != self.user:
            return False
        if self.token is not None:
            return credential.token_id == self.token
        return self.session is None or credential.session_key == self.session


RoomEnvelope = Batch | Delta | Ephemeral | PresenceChanged
Envelope = RoomEnvelope | ActivityHint | CredentialRevoked

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Envelope] = msgspec.msgpack.Decoder(Envelope)


def group_of(room_id: UUID) -> str:
    """Return the name of the room's group on the layer; two rooms never share one."""
    return f"room.{room_id.hex}"


def group_for(envelope: Envelope) -> str:
    """Return the group that an envelope is for."""
    return (
        EVERYWHERE
        if isinstance(envelope, ActivityHint | CredentialRevoked)
        else group_of(envelope.room)
    )


def open_message(message: dict[str, Any]) -> Envelope:
    """Return the envelope inside a message of the layer."""
    return _decoder.decode(message["envelope"])


class Publisher:
    """The one way out of this process: everything leaves in the order in which it was published.

    A loop must run `run`; `publish` may then be called from any thread.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._backlog: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()

    async def run(self) -> None:
        """Send what is published until cancelled. Failures are logged and passed over."""
        layer = get_channel_layer()
        self._backlog = asyncio.Queue(BACKLOG_LIMIT)
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                group, message = await self._backlog.get()
                await self._send(layer, group, message)
        finally:
            self._loop = None

    async def _send(self, layer: Any, group: str, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await layer.group_send(group, message)
        except Exception as error:  # whatever the layer raises, the next message goes on
            log.warning("broadcast.lost", group=group, error=type(error).__name__)

    def publish(self, envelope: Envelope) -> None:
        """Send an envelope to the hubs, soon; never waits and never raises."""
        message = {"type": "envelope", "envelope": _encoder.encode(envelope)}
        if self._loop is None:
            _send_without_loop(group_for(envelope), message)
            return
        self._loop.call_soon_threadsafe(self._enqueue, group_for(envelope), message)

    def _enqueue(self, group: str, message: dict[str, Any]) -> None:
        try:
            self._backlog.put_nowait((group, message))
        except asyncio.QueueFull:
            log.warning("broadcast.backlog_full", group=group)


def _send_without_loop(group: str, message: dict[str, Any]) -> None:
    """For management commands: they may run beside servers that listen on Redis."""
    layer: Any = get_channel_layer()
    if isinstance(layer, InMemoryChannelLayer):
        return  # nobody listens: this process serves no sockets
    try:
        async_to_sync(layer.group_send)(group, message)
    except Exception as error:  # the log has it, and hubs look there
        log.warning("broadcast.lost", group=group, error=type(error).__name__)


publisher = Publisher()
publish = publisher.publish


def publish_on_commit(envelope: Envelope) -> None:
    """Publish once the current transaction has committed; not at all if it does not."""
    transaction.on_commit(lambda: publisher.publish(envelope))
