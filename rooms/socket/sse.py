"""A room as Server-Sent Events: the frames of the socket, for programs that only listen.

Django judges a request like any other, and is done with it when the stream begins: a stream holds
neither a thread nor a connection to the database. It is a connection of the hub, like a socket, so
whatever ends a socket's access ends a stream's, too.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, get_args
from uuid import UUID

import structlog
from django.http import HttpRequest, HttpResponse
from msgspec import Struct, json
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from accounts.errors import RateLimited
from accounts.models import User
from rooms import event_log
from rooms.executors import COMMANDS, in_thread
from rooms.fanout.connection import Connection
from rooms.fanout.credentials import Credential
from rooms.fanout.hub import RoomHub
from rooms.fanout.publisher import LogEntry
from rooms.fanout.transport import Frame, Send, Write
from rooms.permissions import VIEW, access_room
from rooms.protocol.events import AnyDurable, MessageDelta, RoomActivity, RoomRemoved, encode
from rooms.runs.delta_store import delta_store
from rooms.socket import snapshots
from rooms.socket.handshake import is_full, place

logger = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 15
FAREWELL_SECONDS: Final = 2
RETRY_SECONDS: Final = 5
BEAT: Final = b""
_WISHES: Final = "maru.streams"
_DURABLE: Final = frozenset(str(event.__struct_config__.tag) for event in get_args(AnyDurable))
_REMOVED: Final = str(RoomRemoved.__struct_config__.tag)
_ELSEWHERE: Final = str(RoomActivity.__struct_config__.tag)

_open: set[asyncio.Event] = set()


@dataclass(frozen=True, slots=True)
class Wish:
    """A stream that may begin: whose, of which room, after which seq, and by what credential."""

    user: User
    room_id: UUID
    after: int
    credential: Credential


def open_stream(request: HttpRequest, user: User, room_id: UUID, after: int) -> HttpResponse:
    """Answer with the head of a stream; `Streams` goes on from there. The gate has been asked.

    Raises RateLimited where the user has as much open here as they may.
    """
    if is_full(user.pk):
        raise RateLimited(retry_after=RETRY_SECONDS)
    wishes: list[Wish] = getattr(request, "scope", {}).get(_WISHES, [])
    token_id = user.scope.token_id
    session_key = None if token_id else request.session.session_key
    credential = Credential(user.pk, token_id, session_key, user.scope.team_id)
    wishes.append(Wish(user, room_id, after, credential))
    response = HttpResponse(content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"  # or a proxy keeps it until there is more
    return response


def end_streams() -> None:
    """End every stream of this process: its clients come again, to whoever serves then."""
    for over in _open:
        over.set()


class Streams:
    """Hands requests to `app`, and serves the streams that it has let begin."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/stream"):
            await self._app(scope, receive, send)
            return
        wishes: list[Wish] = []

        async def head_only(message: Any) -> None:
            if not wishes:
                await send(message)
            elif message["type"] == "http.response.start":
                await send({**message, "headers": _open_ended(message["headers"])})

        await self._app({**scope, _WISHES: wishes}, receive, head_only)
        for wish in wishes:
            with place(wish.user.pk):
                await _serve(wish, scope["state"]["hub"], receive, send)


def _open_ended(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Nothing else comes by this connection: `SseTransport.abort` must drop no answer but ours."""
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"connection", b"close")]


async def _serve(wish: Wish, hub: RoomHub, receive: Any, send: Send) -> None:
    over = asyncio.Event()

    async def close(code: int) -> None:
        over.set()

    connection = Connection(wish.credential, SseTransport(send, over), close)
    hub.connect(connection)
    _open.add(over)
    work = (_until_gone(receive), _begin(wish, hub, connection), _beat(connection))
    tasks = [asyncio.create_task(_until(over, each)) for each in work]
    try:
        await over.wait()
    finally:
        _open.discard(over)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await hub.disconnect(connection)
    with suppress(TimeoutError):  # whoever does not read does not read the end either
        async with asyncio.timeout(FAREWELL_SECONDS):
            await send({"type": "http.response.body", "body": b""})


async def _until(over: asyncio.Event, work: Any) -> None:
    """Do a part of serving a stream; the stream is over where that fails, or says so."""
    try:
        if not await work:
            over.set()
    except Exception as error:  # the client comes again, and is told then what is wrong
        logger.info("stream.ended", error=type(error).__name__)
        over.set()


async def _until_gone(receive: Any) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return False


async def _beat(connection: Connection) -> bool:
    """Say now and then that we are here: a proxy ends what is silent for long."""
    while True:
        connection.send(BEAT)
        await asyncio.sleep(BEAT_SECONDS)


async def _begin(wish: Wish, hub: RoomHub, connection: Connection) -> bool:
    """Send what the client lacks and then what happens; False where it is to come again.

    Listen first, read second, as a socket does.
    """
    after = await _catch_up(wish, connection)
    subscription = await hub.subscribe(wish.room_id, connection)
    try:
        stand = await in_thread(COMMANDS, snapshots.read_stand, wish.user, wish.room_id, after)
        deltas = [each for answer in stand.unfinished for each in await _deltas(wish, answer)]
        if stand.events is None or subscription.revoked:
            await hub.unsubscribe(wish.room_id, connection)
            return False
        for event in stand.events:
            connection.send(event.frame)
        for delta in deltas:
            connection.send(encode(delta))
        live = {answer.message: (answer.attempt, -1) for answer in stand.unfinished}
        live |= {delta.message: (delta.attempt, delta.seq) for delta in deltas}
        await hub.start(subscription, stand.seq, live)
    except BaseException:
        await hub.unsubscribe(wish.room_id, connection)
        raise
    return True


async def _catch_up(wish: Wish, connection: Connection) -> int:
    """Send the log in pieces until the rest fits into one; return the last seq that was sent."""
    after = wish.after
    while (
        len(events := await in_thread(COMMANDS, _read_log, wish, after)) == event_log.REPLAY_LIMIT
    ):
        for event in events:
            connection.send(event.frame)
        await connection.drained()
        after = events[-1].seq
    return after


def _read_log(wish: Wish, after: int) -> list[LogEntry]:
    access_room(wish.user, wish.room_id, VIEW)
    return event_log.events_after(wish.room_id, after)


async def _deltas(wish: Wish, answer: snapshots.Unfinished) -> list[MessageDelta]:
    """Return what there is of an unfinished answer; clients drop what they have."""
    held = await delta_store().read(answer.message, answer.attempt)
    return [
        MessageDelta(
            room=wish.room_id,
            message=answer.message,
            run=answer.run,
            attempt=answer.attempt,
            seq=seq,
            text=text,
        )
        for seq, text in enumerate(held.deltas if held else ())
    ]


class _Head(Struct):
    """All that a stream has to know of a frame."""

    type: str
    seq: int = 0


_head = json.Decoder(_Head)


class SseTransport:
    """Writes frames as events, in order; durable ones under their seq, to go on from there."""

    def __init__(self, send: Send, over: asyncio.Event) -> None:
        self._send = send
        self._over = over
        self._cycle = getattr(send, "__self__", None)

    def direct_writer(self, on_pause: Callable[[], None]) -> Write | None:
        return None

    async def send(self, frames: Sequence[Frame]) -> None:
        written, removed = bytearray(), False
        for payload in [frame.payload for frame in frames]:
            if payload == BEAT:
                written += b":\n\n"
                continue
            head = _head.decode(payload)
            if head.type == _ELSEWHERE:
                continue
            if head.type in _DURABLE:
                written += b"id: %d\n" % head.seq
            written += b"data: " + payload + b"\n\n"
            removed = removed or head.type == _REMOVED
        await self._send({"type": "http.response.body", "body": bytes(written), "more_body": True})
        if removed:
            self._over.set()

    def abort(self) -> None:
        """Drop what a client does not read: uvicorn would wait for it without end.

        ASGI knows no way to do so.
        """
        if isinstance(self._cycle, RequestResponseCycle):
            self._cycle.transport.abort()
