"""The REST endpoints of what is said in rooms: messages, runs, the log, and the log live."""

from typing import Annotated
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from accounts.api.endpoints import LONGEST_PAGE, Body, Cursor, Limit, read_body, takes
from accounts.api.idempotency import id_of, once
from accounts.errors import MaruError
from accounts.permissions import require_user
from rooms import event_log, queries, services
from rooms.api.responses import answer, page, seq_of
from rooms.models import Run
from rooms.permissions import POST, VIEW, access_message, access_room, access_run
from rooms.protocol.events import AnyDurable
from rooms.protocol.payloads import MessageBody, RunBody
from rooms.protocol.schemas import gives, listed, streams
from rooms.protocol.serializers import message_body, run_body
from rooms.runs import queue
from rooms.socket import snapshots
from rooms.socket.sse import open_stream

router = Router(tags=["messages"])

# SQLite and PostgreSQL end here; no room comes near it.
Seq = Annotated[int | None, Query(ge=0, lt=2**53)]
AfterSeq = Annotated[int, Query(ge=0, lt=2**53, description="the last seq that you have")]


class MessageWish(Body):
    """Something to say; the same `client_id` again is the same message."""

    text: str
    client_id: UUID | None = None
    reply_to: UUID | None = None
    personas: list[UUID] | None = Field(None, max_length=100)


class MessageChanges(Body):
    """What may change about a message."""

    text: str


class Posted(msgspec.Struct, frozen=True):
    """What became of a message: itself, and the runs that answer it."""

    message: MessageBody
    runs: list[UUID]


@router.get(
    "/rooms/{uuid:room_id}/messages",
    openapi_extra=listed(MessageBody),
    summary="What was said, newest first",
)
def get_messages(
    request: HttpRequest,
    room_id: UUID,
    limit: Limit = 50,
    cursor: Cursor = None,
    *,
    before: Seq = None,
    after: Seq = None,
) -> HttpResponse:
    room = access_room(require_user(request), room_id, VIEW)
    said = room.messages.order_by("-seq")
    for seq in (before, seq_of(cursor)):
        said = said if seq is None else said.filter(seq__lt=seq)
    if after is not None:
        said = said.filter(seq__gt=after)
    return page(said, queries.bodies, limit, "seq")


@router.post(
    "/rooms/{uuid:room_id}/messages",
    openapi_extra={**takes(MessageWish), **gives(Posted, 201)},
    summary="Say something",
)
def post_message(request: HttpRequest, room_id: UUID) -> HttpResponse:
    user = require_user(request)
    try:
        wish = read_body(request, MessageWish).model_dump()
    except MaruError:
        # The service asks the gate; only where it is not reached, the gate is asked here.
        access_room(user, room_id, POST)
        raise
    wish["client_id"] = wish["client_id"] or id_of(request)

    def say() -> HttpResponse:
        posted = services.post_message(user=user, room_id=room_id, **wish)
        return answer(Posted(message=message_body(posted.message), runs=posted.runs), 201)

    # Not kept: a copy of the answer would outlive the message when that is deleted.
    return once(request, say, keeps=False)


@router.get("/messages/{uuid:message_id}", openapi_extra=gives(MessageBody), summary="A message")
def get_message(request: HttpRequest, message_id: UUID) -> HttpResponse:
    (body,) = queries.bodies([access_message(require_user(request), message_id, VIEW)])
    return answer(body)


@router.patch(
    "/messages/{uuid:message_id}",
    openapi_extra={**takes(MessageChanges), **gives(MessageBody)},
    summary="Change what I have said",
)
def patch_message(request: HttpRequest, message_id: UUID) -> HttpResponse:
    user = require_user(request)
    services.check_may_edit(user, access_message(user, message_id, POST))
    text = read_body(request, MessageChanges).text
    (body,) = queries.bodies([services.edit_message(user=user, message_id=message_id, text=text)])
    return answer(body)


@router.delete(
    "/messages/{uuid:message_id}", response={204: None}, summary="Take away what was said"
)
def delete_message(request: HttpRequest, message_id: UUID) -> None:
    services.delete_message(user=require_user(request), message_id=message_id)


@router.put(
    "/messages/{uuid:message_id}/reactions/{str:emoji}",
    response={204: None},
    summary="React to a message",
)
def put_reaction(request: HttpRequest, message_id: UUID, emoji: str) -> None:
    services.react(user=require_user(request), message_id=message_id, emoji=emoji, on=True)


@router.delete(
    "/messages/{uuid:message_id}/reactions/{str:emoji}",
    response={204: None},
    summary="Take a reaction back",
)
def delete_reaction(request: HttpRequest, message_id: UUID, emoji: str) -> None:
    services.react(user=require_user(request), message_id=message_id, emoji=emoji, on=False)


@router.get(
    "/rooms/{uuid:room_id}/events",
    openapi_extra=listed(AnyDurable),
    summary="The log of a room, oldest first",
)
def get_events(
    request: HttpRequest,
    room_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
    after: AfterSeq = 0,
) -> HttpResponse:
    room = access_room(require_user(request), room_id, VIEW)
    after = max(after, seq_of(cursor) or 0)
    event_log.check_seq(room, after)
    limit = min(limit, LONGEST_PAGE)
    found = event_log.events_after(room.pk, after, limit + 1)
    following = str(found[limit - 1].seq) if len(found) > limit else None
    return answer({"items": event_log.raw_frames(found[:limit]), "next": following})


@router.get(
    "/rooms/{uuid:room_id}/stream",
    openapi_extra=streams(),
    summary="The log of a room and what is said just now, live",
)
def get_stream(request: HttpRequest, room_id: UUID, after: AfterSeq = 0) -> HttpResponse:
    user = require_user(request)
    room = access_room(user, room_id, VIEW)
    snapshots.authorize_join(user, room_id)
    last = seq_of(request.headers.get("Last-Event-ID") or None)
    after = after if last is None else last
    event_log.check_seq(room, after)
    return open_stream(request, user, room.pk, after)


@router.get("/runs/{uuid:run_id}", openapi_extra=gives(RunBody), summary="A run")
def get_run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    return _answer_run(access_run(require_user(request), run_id, VIEW))


@router.post("/runs/{uuid:run_id}/cancel", openapi_extra=gives(RunBody), summary="Stop an answer")
def cancel_run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    user = require_user(request)
    access_run(user, run_id, VIEW)
    return once(request, lambda: answer(run_body(services.cancel_run(user=user, run_id=run_id))))


@router.post(
    "/runs/{uuid:run_id}/retry", openapi_extra=gives(RunBody, 201), summary="Ask once more"
)
def retry_run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    user = require_user(request)
    access_run(user, run_id, VIEW)
    return once(request, lambda: _answer_run(services.retry_run(user=user, run_id=run_id), 201))


def _answer_run(run: Run, status: int = 200) -> HttpResponse:
    return answer(run_body(run, queue.position_of(run)), status)
