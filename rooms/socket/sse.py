"""A room as Server-Sent Events: the WebSocket's frames, for programs that send no commands.

Django authorizes the request like any other and returns the response head; `SseMiddleware` then
streams on the event loop, so that an open stream holds neither a thread nor a database connection.
A stream is a `Connection` of the hub like a socket: revocation closes both in the same way. The
format is that of the HTML standard, section 9.2 ("Server-sent events").
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
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
from rooms.fanout.transport import Frame, Send, Writer
from rooms.permissions import VIEW, access_room
from rooms.protocol.events import AnyDurable, MessageDelta, RoomActivity, RoomRemoved, encode
from rooms.socket import snapshots
from rooms.socket.handshake import counted_connection, is_at_connection_limit
from rooms.socket.shared_deltas import shared_deltas
from rooms.socket.shared_reads import OpenAnswer

logger = structlog.get_logger(__name__)

HEARTBEAT_SECONDS: Final = 15
LAST_CHUNK_SECONDS: Final = 2
RETRY_SECONDS: Final = 5
HEARTBEAT: Final = b""
_SCOPE_KEY: Final = "maru.stream_requests"
_DURABLE: Final = frozenset(str(event.__struct_config__.tag) for event in get_args(AnyDurable))
_REMOVED: Final = str(RoomRemoved.__struct_config__.tag)
_ACTIVITY: Final = str(RoomActivity.__struct_config__.tag)

_open: set[asyncio.Event] = set()


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """An authorized request for the events of a room after a seq."""

    user: User
    room_id: UUID
    after: int
    credential: Credential


def open_stream(request: HttpRequest, user: User, room_id: UUID, after: int) -> HttpResponse:
    """Return the response head; `SseMiddleware` streams the body. The caller has authorized `user`.

    Raises RateLimited if the user has the maximum of open connections.
    """
    if is_at_connection_limit(user.pk):
        raise RateLimited(retry_after=RETRY_SECONDS)
    requests: list[StreamRequest] = getattr(request, "scope", {}).get(_SCOPE_KEY, [])
    token_id = user.scope.token_id
    session_key = None if token_id else request.session.session_key
    credential = Credential(user.pk, token_id, session_key, user.scope.team_id)
    requests.append(StreamRequest(user, room_id, after, credential))
    response = HttpResponse(content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"  # nginx would buffer the events
    return response


def close_streams() -> None:
    """End every stream of this process; clients reconnect to another process."""
    for over in _open:
        over.set()


class SseMiddleware:
    """ASGI middleware that serves the streams that the application has opened."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/stream"):
            await self._app(scope, receive, send)
            return
        requests: list[StreamRequest] = []

        async def send_head_only(message: Any) -> None:
            if not requests:
                await send(message)
            elif message["type"] == "http.response.start":
                kept = [(n, v) for n, v in message["headers"] if n.lower() != b"content-length"]
                # `SseTransport.abort` drops the TCP connection: no other response may share it.
                await send({**message, "headers": [*kept, (b"connection", b"close")]})

        await self._app({**scope, _SCOPE_KEY: requests}, receive, send_head_only)
        for request in requests:
            with counted_connection(request.user.pk):
                await _serve(request, scope["state"]["hub"], receive, send)


async def _serve(request: StreamRequest, hub: RoomHub, receive: Any, send: Any) -> None:
    """Stream until the client disconnects, its access ends, the process stops, or a task fails."""
    over = asyncio.Event()

    async def close(code: int) -> None:
        over.set()

    connection = Connection(request.credential, SseTransport(send, over), close)
    hub.connect(connection)
    _open.add(over)
    work = (_wait_for_disconnect(receive), _begin(request, hub, connection), _beat(connection))
    tasks = [asyncio.create_task(_end_with(over, each)) for each in work]
    try:
        await over.wait()
    finally:
        _open.discard(over)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await hub.disconnect(connection)
    with suppress(TimeoutError):  # a client that does not read blocks the last chunk as well
        async with asyncio.timeout(LAST_CHUNK_SECONDS):
            await send({"type": "http.response.body", "body": b""})


async def _end_with(over: asyncio.Event, work: Coroutine[Any, Any, bool]) -> None:
    """Await `work`; set `over` if it returns False or fails."""
    try:
        if not await work:
            over.set()
    except Exception as error:  # the client reconnects and gets an error response then
        logger.info("stream.ended", error=type(error).__name__)
        over.set()


async def _wait_for_disconnect(receive: Any) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return False


async def _beat(connection: Connection) -> bool:
    """Send heartbeats: proxies close connections that are silent."""
    while True:
        connection.send(HEARTBEAT)
        await asyncio.sleep(HEARTBEAT_SECONDS)


async def _begin(request: StreamRequest, hub: RoomHub, connection: Connection) -> bool:
    """Send the missed events and deltas, then subscribe; return False if the client must reconnect.

    Long gaps are sent in batches first. The last batch is read after the subscription, as for a
    socket, so that no event in between is lost.
    """
    user, room_id, after = request.user, request.room_id, request.after

    def read_long_gap(after: int) -> list[LogEntry]:
        """Return the next missed events, unless they are the last ones."""
        room = access_room(user, room_id, VIEW)
        events = event_log.events_after(room_id, after)
        return events if events and events[-1].seq < room.last_seq else []

    while batch := await in_thread(COMMANDS, read_long_gap, after):
        for event in batch:
            connection.send(event.frame)
        await connection.drained()
        after = batch[-1].seq
    subscription = await hub.subscribe(room_id, connection)
    try:
        data = await snapshots.read_snapshot(user, room_id, after)
        open_answers = [answer for answer in data.open_answers if not answer.waiting]
        deltas = [delta for answer in open_answers for delta in await _deltas(room_id, answer)]
        if data.events is None or subscription.revoked:
            await hub.unsubscribe(room_id, connection)
            return False
        for event in data.events:
            connection.send(event.frame)
        for delta in deltas:
            connection.send(encode(delta))
        live = {answer.message: (answer.attempt, -1) for answer in open_answers}
        live |= {delta.message: (delta.attempt, delta.seq) for delta in deltas}
        await hub.start(subscription, data.seq, live)
    except BaseException:
        await hub.unsubscribe(room_id, connection)
        raise
    return True


async def _deltas(room_id: UUID, answer: OpenAnswer) -> list[MessageDelta]:
    """Return the stored deltas of an open answer; clients drop duplicates."""
    stored = await shared_deltas.read(answer.message, answer.attempt)
    return [
        MessageDelta(
            room=room_id,
            message=answer.message,
            run=answer.run,
            attempt=answer.attempt,
            seq=seq,
            text=text,
        )
        for seq, text in enumerate(stored.deltas if stored else ())
    ]


class _Head(Struct):
    """The fields of a frame that a stream reads."""

    type: str
    seq: int = 0


_head = json.Decoder(_Head)


class SseTransport:
    """Writes frames as events; a durable event has its seq as `id`, for `Last-Event-ID`."""

    def __init__(self, send: Send, over: asyncio.Event) -> None:
        self._send = send
        self._over = over
        self._cycle = getattr(send, "__self__", None)

    def direct_writer(self, on_pause: Callable[[], None]) -> Writer | None:
        return None

    async def send(self, frames: Sequence[Frame]) -> None:
        written, removed = bytearray(), False
        for frame in frames:
            payload = frame.payload
            if payload == HEARTBEAT:
                written += b":\n\n"  # a comment
                continue
            head = _head.decode(payload)
            if head.type == _ACTIVITY:  # about other rooms of the user
                continue
            if head.type in _DURABLE:
                written += b"id: %d\n" % head.seq
            written += b"data: " + payload + b"\n\n"
            removed = removed or head.type == _REMOVED
        await self._send({"type": "http.response.body", "body": bytes(written), "more_body": True})
        if removed:
            self._over.set()

    def abort(self) -> None:
        """Close the TCP connection of a client that does not read; uvicorn would wait forever.

        ASGI has no message for this, so it uses the transport behind uvicorn's `send`.
        """
        if isinstance(self._cycle, RequestResponseCycle):
            self._cycle.transport.abort()
