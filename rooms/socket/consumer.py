"""The WebSocket consumer: decodes commands, executes them in a thread, and answers.

The hub writes the events of rooms to the connection. The consumer handles one frame at a time, so
nothing in it may wait for long.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final, NoReturn, get_args
from uuid import UUID

import msgspec
import structlog
from asgiref.typing import WebSocketDisconnectEvent
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import Error as DatabaseError
from django.utils import translation
from msgspec import UNSET

from accounts import rate_limits
from accounts.disk import unavailable
from accounts.errors import Invalid, MaruError, NotFound, RateLimited, is_outage
from accounts.models import User
from rooms import metrics
from rooms.executors import COMMANDS, in_thread
from rooms.fanout.connection import NO_STATUS, Connection
from rooms.fanout.hub import RoomHub
from rooms.fanout.transport import transport_for
from rooms.permissions import VIEW, access_room
from rooms.protocol import compact
from rooms.protocol.commands import (
    AnyCommand,
    Ping,
    RoomJoin,
    RoomLeave,
    decode_command,
    decode_ref,
    refusal,
)
from rooms.protocol.events import CommandDone, CommandRefused, encode
from rooms.socket import snapshots
from rooms.socket.dispatch import Outcome, execute
from rooms.socket.joins import authorize
from rooms.socket.token_bucket import TokenBucket

log = structlog.get_logger(__name__)

WAIT_FOR_EVENTS_SECONDS: Final = 2.0
FLOODING: Final = 4429
REFUSED_SECONDS: Final = 0.005
"""Seconds until the next frame is read from a client that was refused by its rate limit."""

_TYPES: Final = (*(str(kind.__struct_config__.tag) for kind in get_args(AnyCommand)),)
_OUTCOMES: Final = ("done", *(error.code for error in MaruError.__subclasses__()))
metrics.start_at_zero(metrics.COMMANDS, _TYPES, _OUTCOMES)
metrics.start_at_zero(metrics.COMMANDS, ["any"], [RateLimited.code])
metrics.start_at_zero(metrics.COMMANDS, ["unreadable"], [Invalid.code])


class RoomsConsumer(AsyncWebsocketConsumer):
    """One WebSocket connection (a browser tab or a program), joined to any number of rooms."""

    user: User
    language: str
    hub: RoomHub
    connection: Connection

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle the frames of a connection in order; disconnect from the hub however it ends.

        Replaces the method of Channels, which starts a task per message in order to receive from a
        channel layer as well (here the hub receives), and calls `disconnect` only for a clean
        close. Its `dispatch` is left out: it closes old database connections in the thread that all
        consumers share, but `rooms.executors` has its own threads for the database.
        """
        self.scope, self.base_send = scope, send
        try:
            while True:
                message = await receive()
                await getattr(self, message["type"].replace(".", "_"))(message)
                await asyncio.sleep(0)  # a client that sends a burst must not starve the others
        except StopConsumer:
            pass
        finally:
            if hasattr(self, "connection"):
                await self.hub.disconnect(self.connection)

    async def connect(self) -> None:
        scope: dict[str, Any] = {**self.scope}
        self.user, self.language = scope["user"], scope["language"]
        self.hub = scope["state"]["hub"]
        subprotocol = scope["subprotocol"]
        self.connection = Connection(
            scope["credential"],
            transport_for(self.base_send),
            self.close,
            is_compact=subprotocol == compact.SUBPROTOCOL,
        )
        self._bucket = TokenBucket()
        await self.accept(subprotocol)
        self.hub.connect(self.connection)

    async def websocket_disconnect(self, message: WebSocketDisconnectEvent) -> NoReturn:
        """Leave the cleanup to `__call__`; Channels would use the shared database thread."""
        if not self.connection.closed:
            self.connection.close_code = message.get("code") or NO_STATUS
        raise StopConsumer

    async def receive(  # noqa: C901 # every outcome of a frame, in order
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        """Execute one command and answer it with `command.done` or `command.refused`."""
        if self.connection.closed:
            return  # the credential was revoked before this frame was received
        text = text_data or ""
        if settings.RATE_LIMITS and (seconds := self._bucket.take()) is not None:
            if self._bucket.is_flooded:
                self.connection.close(FLOODING)
            else:
                self._refuse("any", decode_ref(text), RateLimited(retry_after=seconds))
                # Backpressure: further frames of a flood stay in the buffers of TCP.
                await asyncio.sleep(REFUSED_SECONDS)
            return
        try:
            command = decode_command(text)
        except (msgspec.DecodeError, RecursionError):
            self._refuse("unreadable", decode_ref(text), refusal(text))
            return
        kind, ref = str(type(command).__struct_config__.tag), getattr(command, "ref", None)
        try:
            outcome = await self._execute(command)
        except MaruError as error:
            self._refuse(kind, ref, error)
        except DatabaseError as error:
            trace = not is_outage(error)
            log.warning("command.database_away", error=type(error).__name__, exc_info=trace)
            self._refuse(kind, ref, unavailable(error))
        else:
            if outcome is not None and ref is not None:
                self.connection.send(encode(CommandDone(ref=ref, result=outcome.result)))
            metrics.COMMANDS.labels(kind, "done").inc()

    async def _execute(self, command: AnyCommand) -> Outcome | None:
        """Execute a command; return None if it was answered by a snapshot."""
        match command:
            case Ping():
                return Outcome()
            case RoomJoin():
                await self._join(command)
                return None
            case RoomLeave(room=room_id):
                subscription = self.connection.subscriptions.get(room_id)
                if subscription is None:  # a member gets `command.done`, a stranger `not_found`
                    await in_thread(COMMANDS, _authorize_leave, self.user, room_id)
                else:
                    await self.hub.unsubscribe(room_id, self.connection)
                return Outcome()
        outcome = await in_thread(COMMANDS, execute, command, self.user, self.language)
        if outcome.after is not None:
            # The answer must not wait forever for events that do not come.
            with suppress(TimeoutError):
                async with asyncio.timeout(WAIT_FOR_EVENTS_SECONDS):
                    await self.hub.wait_until_sent(*outcome.after, self.connection)
        return outcome

    async def _join(self, command: RoomJoin) -> None:
        """Subscribe, then read and send the snapshot, so that no event in between is lost.

        The permission is also checked before the subscription, so that a stranger cannot make the
        hub subscribe. If the hub is subscribed already, the check during the read is enough.
        """
        room_id = command.room
        earlier = self.connection.subscriptions.get(room_id)
        is_counted = earlier is not None or not self.hub.has_topic(room_id)
        if is_counted:
            await authorize(self.user, room_id)
        if earlier is not None:
            await self.hub.unsubscribe(room_id, self.connection)
        subscription = await self.hub.subscribe(room_id, self.connection)
        try:
            # A client that does not read waits here before it makes the server read more for it.
            await self.connection.drained()
            data = await snapshots.read_snapshot(
                *(self.user, room_id, command.after),
                threads=command.threads,
                is_counted=is_counted,
            )
            snapshot = await snapshots.build_snapshot(command, data, subscription.streams)
            if subscription.revoked:  # the user was removed after the permission check
                raise NotFound
            self.connection.send(encode(snapshot))
            live = snapshots.delta_positions(data, snapshot.live)
            await self.hub.start(subscription, data.seq, live)
        except BaseException:
            await self.hub.unsubscribe(room_id, self.connection)
            raise

    def _refuse(self, kind: str, ref: str | None, error: MaruError) -> None:
        metrics.COMMANDS.labels(kind, error.code).inc()
        with translation.override(self.language):
            refused = CommandRefused(
                ref=ref,
                code=error.code,
                detail=str(error.detail),
                fields={name: str(text) for name, text in (error.fields or {}).items()} or UNSET,
                retry_after=UNSET if error.retry_after is None else error.retry_after,
            )
        self.connection.send(encode(refused))


def _authorize_leave(user: User, room_id: UUID) -> None:
    """Raise NotFound for users without access, RateLimited for too many commands."""
    rate_limits.consume(rate_limits.COMMAND, user)
    access_room(user, room_id, VIEW)
