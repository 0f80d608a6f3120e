"""The doorman of a socket: decodes, asks one service, answers; the hub does the rest.

It waits for nothing long: Channels hands one consumer its messages strictly in turn.
"""

import asyncio
from contextlib import suppress
from typing import Any, Final, NoReturn
from uuid import UUID

import msgspec
import structlog
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import translation
from msgspec import UNSET

from accounts.errors import Invalid, MaruError, NotFound, RateLimited, Unavailable
from accounts.models import User
from rooms import metrics
from rooms.executors import COMMANDS, in_thread
from rooms.fanout.connection import Connection
from rooms.fanout.delivery import Subscription
from rooms.fanout.hub import RoomHub
from rooms.fanout.transport import transport_for
from rooms.permissions import VIEW, access_room
from rooms.protocol.commands import (
    AnyCommand,
    Ping,
    RoomJoin,
    RoomLeave,
    decode_command,
    decode_ref,
)
from rooms.protocol.events import CommandDone, CommandRefused, encode
from rooms.socket import snapshots
from rooms.socket.commands import carry_out
from rooms.socket.handshake import SUBPROTOCOL
from rooms.socket.snapshots import Stand
from rooms.socket.token_bucket import Bucket

log = structlog.get_logger(__name__)

SHOWN_SECONDS: Final = 2.0
FLOODING: Final = 4429


class RoomsConsumer(AsyncWebsocketConsumer):
    """One browser tab or program, in any number of rooms."""

    user: User
    language: str
    hub: RoomHub
    connection: Connection

    async def connect(self) -> None:
        scope: dict[str, Any] = {**self.scope}
        self.user, self.language = scope["user"], scope["language"]
        self.hub = scope["state"]["hub"]
        self.connection = Connection(scope["credential"], transport_for(self.base_send), self.close)
        self._bucket = Bucket()
        await self.accept(SUBPROTOCOL)
        self.hub.connect(self.connection)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Take what the server says, in turn; the hub lets go of the socket whatever the end.

        Channels would have a task for each message, for it also listens to a layer; here the hub
        does. And it calls `disconnect` only where somebody says farewell.
        """
        self.scope, self.base_send = scope, send
        try:
            while True:
                await self.dispatch(await receive())
                await asyncio.sleep(0)  # whoever says much at once does not keep others waiting
        except StopConsumer:
            pass
        finally:
            if hasattr(self, "connection"):
                await self.hub.disconnect(self.connection)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Hand on what the server says: Channels would look after the database first, in a thread
        that all of this process shares. We have threads of our own for that.
        """
        await getattr(self, message["type"].replace(".", "_"))(message)

    async def websocket_disconnect(self, message: object) -> NoReturn:
        """Leave the rest to `__call__`: Channels would, again, look after the database first."""
        raise StopConsumer

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.connection.closed:
            return  # what was on its way when its credential ended is not done any more
        if settings.RATE_LIMITS and (seconds := self._bucket.take()) is not None:
            self._slow_down(decode_ref(text_data or ""), seconds)
            return
        try:
            command = decode_command(text_data or "")
        except (msgspec.DecodeError, RecursionError):
            self._refuse("unreadable", decode_ref(text_data or ""), Invalid())
            return
        kind = str(type(command).__struct_config__.tag)
        try:
            await self._carry_out(command)
        except MaruError as error:
            self._refuse(kind, _ref(command), error)
        except (DatabaseError, InterfaceError) as error:
            log.warning("command.database_away", error=type(error).__name__)
            self._refuse(kind, _ref(command), Unavailable())
        else:
            metrics.COMMANDS.labels(kind, "done").inc()

    def _slow_down(self, ref: str | None, seconds: int) -> None:
        if self._bucket.is_flood:
            self.connection.close(FLOODING)
        else:
            self._refuse("any", ref, RateLimited(retry_after=seconds))

    async def _carry_out(self, command: AnyCommand) -> None:
        match command:
            case Ping():
                self._done(command.ref, {})
            case RoomJoin():
                await self._join(command)
            case RoomLeave():
                await self._leave(command)
            case _:
                await self._serve(command)

    async def _serve(self, command: AnyCommand) -> None:
        done = await in_thread(COMMANDS, carry_out, command, self.user, self.language)
        if done.shown is not None:
            await self._wait_until_shown(*done.shown)
        if (ref := _ref(command)) is not None:
            self._done(ref, done.result)

    async def _join(self, command: RoomJoin) -> None:
        """Listen first, read second: a removal that lands in between is still heard.

        The gate is asked before, too, so that a stranger makes nobody listen to anything; where
        others listen already, that is once too often for a thousand who come back at once.
        """
        earlier = self.connection.subscriptions.get(command.room)
        read = snapshots.admit_and_read
        if earlier is not None or not self.hub.is_subscribed(command.room):
            await in_thread(COMMANDS, snapshots.admit, self.user, command.room)
            read = snapshots.read_stand
        if earlier is not None:
            await self.hub.unsubscribe(command.room, self.connection)
        subscription = await self.hub.subscribe(command.room, self.connection)
        try:
            await self.connection.drained()  # whoever does not read waits here for themselves
            stand = await in_thread(COMMANDS, read, self.user, command.room, command.after)
            await self._begin(command, subscription, stand)
        except BaseException:
            await self.hub.unsubscribe(command.room, self.connection)
            raise

    async def _begin(self, command: RoomJoin, subscription: Subscription, stand: Stand) -> None:
        snapshot = await snapshots.snapshot(command, stand)
        if subscription.revoked:
            raise NotFound
        self.connection.send(encode(snapshot))
        live = {answer.message: (answer.attempt, answer.seq) for answer in snapshot.live}
        await self.hub.start(subscription, stand.seq, live)

    async def _leave(self, command: RoomLeave) -> None:
        """Stop listening; members who did not listen are told that it is done, strangers not."""
        subscription = self.connection.subscriptions.get(command.room)
        if subscription is None:
            await in_thread(COMMANDS, access_room, self.user, command.room, VIEW)
        else:
            await self.hub.unsubscribe(command.room, self.connection)
        self._done(command.ref, {})

    async def _wait_until_shown(self, room_id: UUID, seq: int) -> None:
        """Let the room's own frames go first: nothing of an answer follows the word that it ended.

        If they do not come, the answer to the command must not wait for them forever.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(SHOWN_SECONDS):
                await self.hub.wait_until_sent(room_id, seq, self.connection)

    def _done(self, ref: str, result: dict[str, Any]) -> None:
        self.connection.send(encode(CommandDone(ref=ref, result=result)))

    def _refuse(self, kind: str, ref: str | None, error: MaruError) -> None:
        metrics.COMMANDS.labels(kind, error.code).inc()
        with translation.override(self.language):
            refused = CommandRefused(
                ref=ref,
                code=error.code,
                detail=str(error.detail),
                retry_after=UNSET if error.retry_after is None else error.retry_after,
            )
        self.connection.send(encode(refused))


def _ref(command: AnyCommand) -> str | None:
    ref: str | None = getattr(command, "ref", None)
    return ref
