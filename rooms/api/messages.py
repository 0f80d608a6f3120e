"""The REST endpoints of messages, runs and the event log of a room."""

from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from msgspec import Meta, Struct, structs

from accounts.api.bodies import Body, json_response
from accounts.api.idempotency import derived_id
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, page_of
from accounts.api.parameters import Header
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict, Invalid, NotFound, TooLarge
from accounts.models import User
from rooms import event_log, own_threads, queries, services
from rooms.models import Message, Room, Run
from rooms.permissions import MODERATE, POST, VIEW, access_message, access_room, access_run
from rooms.protocol.commands import TEXT_LIMIT
from rooms.protocol.events import AnyDurable
from rooms.protocol.payloads import MessageBody, RunBody
from rooms.protocol.serializers import message_body, run_body
from rooms.runs import queue
from rooms.runs.steps import accepted_lines
from rooms.socket import snapshots
from rooms.socket.sse import open_stream

routes = Routes("messages")

# Integers of JSON are exact up to 2**53 in JavaScript (RFC 8259, section 6).
Seq = Annotated[int, Meta(ge=0, lt=2**53)]
Before = Annotated[Seq, Meta(description="only messages before this seq")]
After = Annotated[Seq, Meta(description="only messages after this seq")]
Around = Annotated[
    UUID, Meta(description="the id of a message: return it with 25 messages before and after it")
]
AfterSeq = Annotated[Seq, Meta(description="the last seq that the client has")]
LastEventId = Annotated[Seq, Header("Last-Event-ID"), Meta(description="overrides `after`")]

ThreadOrAll = Annotated[
    str,
    Meta(
        pattern="^(all|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$",
        description="the thread of this message, oldest first, or `all` messages and replies",
    ),
]

STREAM: Final[dict[str, Any]] = {
    "description": "Server-Sent Events. `id` is the seq, `data` an event as in /wire.json.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


# The service checks the length: a text that is too long is `too_large`, and not `invalid`.
MessageText = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": TEXT_LIMIT})]


class MessageCreate(Body, frozen=True):
    """A new message. Messages of a user with the same `client_id` in a room are one message."""

    text: MessageText
    client_id: UUID | None = None
    reply_to: UUID | None = None
    personas: Annotated[tuple[UUID, ...], Meta(max_length=100)] | None = None
    mentions_first: bool = False
    in_turn: bool = False
    led_by: UUID | None = None
    also_in_room: bool = False


class MessageUpdate(Body, frozen=True):
    """The new text of a message."""

    text: MessageText


class PostedMessageBody(Struct, frozen=True):
    """A new message and the ids of the runs that answer it."""

    message: MessageBody
    runs: list[UUID]


class EventPage(Struct, frozen=True):
    """A page of the event log, oldest first; `next` is the cursor of the next page."""

    items: list[AnyDurable]
    next: str | None


@routes.add(
    "GET /rooms/{uuid:room_id}/messages",
    Gate(access_room, VIEW),
    summary="List the messages of a room, newest first, or of a thread, oldest first",
)
def get_messages(
    user: User,
    room: Room,
    request: HttpRequest,
    limit: Limit = 50,
    cursor: Cursor = None,
    *,
    before: Before | None = None,
    after: After | None = None,
    around: Around | None = None,
    thread: ThreadOrAll | None = None,
) -> Page[MessageBody]:
    """The messages of a thread are its root and its replies."""
    if around is not None:
        if (
            len(list(request.GET.lists())) > 1
        ):  # `limit` has a default, so its argument tells nothing
            raise Invalid(fields={"around": _("Use it without other parameters.")})
        return _page_around(user, room, around)
    messages = queries.messages_of(room, thread)
    if before is not None:
        messages = messages.filter(seq__lt=before)
    if after is not None:
        messages = messages.filter(seq__gt=after)
    return page_of(
        messages,
        lambda rows: _for_reader(user, queries.bodies(rows)),
        limit=limit,
        cursor=cursor,
        key="seq",
        ascending=thread not in (None, "all"),
        fitting=queries.within_bytes,
    )


def _for_reader(user: User, messages: Sequence[MessageBody]) -> list[MessageBody]:
    """Return messages with what they are for one user: the votes, and the unread replies."""
    return own_threads.with_unread_of(user, queries.with_votes_of(user, messages))


def _page_around(user: User, room: Room, message_id: UUID) -> Page[MessageBody]:
    """Return a message and its neighbours; raises NotFound for a message of another room."""
    message = room.messages.filter(pk=message_id).first()
    if message is None:
        raise NotFound
    found, complete = queries.messages_around(room, message)
    items = _for_reader(user, found[::-1])
    # A replaced version is in the place of the last version.
    first = queries.versions_of(room, message)[-1] if found[0].id == message.pk else found[0]
    return Page(items=items, next=None if complete else str(first.seq))


@routes.add(
    "POST /rooms/{uuid:room_id}/messages",
    gate_if_invalid=Gate(access_room, POST),
    # A stored response would still contain the text after the message is deleted.
    idempotency="repeat",
    status=201,
    location="/messages/{message[id]}",
    summary="Post a message",
)
def post_message(
    user: User, room_id: UUID, body: MessageCreate, request: HttpRequest
) -> PostedMessageBody:
    client_id = body.client_id or derived_id(request)
    fields = structs.asdict(structs.replace(body, client_id=client_id))
    posted = services.post_message(user=user, room_id=room_id, **fields)
    return PostedMessageBody(message=message_body(posted.message), runs=posted.runs)


@routes.add("GET /messages/{uuid:message_id}", Gate(access_message, VIEW), summary="Get a message")
def get_message(user: User, message: Message) -> MessageBody:
    (body,) = _for_reader(user, queries.bodies([message]))
    return body


def _access_own_message(user: User, message_id: UUID) -> Message:
    """Return a message that the user may edit."""
    message = access_message(user, message_id, POST)
    services.check_may_edit(user, message)
    return message


@routes.add(
    "PATCH /messages/{uuid:message_id}",
    Gate(_access_own_message),
    errors=(Conflict,),
    summary="Edit a message of the current user",
)
def patch_message(user: User, message: Message, body: MessageUpdate) -> MessageBody:
    edited = services.edit_message(user=user, message_id=message.pk, text=body.text)
    (answer,) = queries.bodies([edited])
    return answer


def _access_message_to_delete(user: User, message_id: UUID) -> Message:
    message = access_message(user, message_id, VIEW)
    return access_message(user, message_id, POST if message.user_id == user.pk else MODERATE)


@routes.add(
    "DELETE /messages/{uuid:message_id}",
    gate_if_invalid=Gate(_access_message_to_delete),
    summary="Delete a message",
)
def delete_message(user: User, message_id: UUID) -> None:
    services.delete_message(user=user, message_id=message_id)


@routes.add(
    "PUT /messages/{uuid:message_id}/reactions/{str:emoji}",
    gate_if_invalid=Gate(access_message, POST),
    errors=(Conflict,),
    summary="Add a reaction to a message",
)
def put_reaction(user: User, message_id: UUID, emoji: str) -> None:
    services.react(user=user, message_id=message_id, emoji=emoji, on=True)


@routes.add(
    "DELETE /messages/{uuid:message_id}/reactions/{str:emoji}",
    gate_if_invalid=Gate(access_message, POST),
    errors=(Conflict,),
    summary="Remove a reaction of the current user from a message",
)
def delete_reaction(user: User, message_id: UUID, emoji: str) -> None:
    services.react(user=user, message_id=message_id, emoji=emoji, on=False)


@routes.add(
    "POST /messages/{uuid:message_id}/continue",
    gate_if_invalid=Gate(access_message, MODERATE),
    errors=(Conflict,),
    idempotency="ignore",
    summary="Continue the answers between personas that a limit has stopped",
)
def continue_answers(user: User, message_id: UUID) -> PostedMessageBody:
    answer, runs = services.continue_answers(user=user, message_id=message_id)
    (body,) = queries.bodies([answer])
    return PostedMessageBody(message=body, runs=[run.pk for run in runs])


@routes.add(
    "GET /rooms/{uuid:room_id}/events",
    Gate(access_room, VIEW),
    response=EventPage,
    errors=(Conflict,),
    summary="List the durable events of a room, oldest first",
)
def get_events(
    user: User,
    room: Room,
    limit: Limit = MAX_PAGE,
    cursor: Cursor = None,
    after: AfterSeq = 0,
) -> HttpResponse:
    after = max(after, _parse_cursor(cursor))
    event_log.check_seq(room, after)
    found = event_log.events_after(room.pk, after, limit)
    next_cursor = str(found[-1].seq) if found and found[-1].seq < room.last_seq else None
    # Events are stored as JSON: they are copied into the response and not decoded.
    return json_response({"items": event_log.raw_frames(found), "next": next_cursor})


@routes.add(
    "GET /rooms/{uuid:room_id}/stream",
    Gate(snapshots.authorize_join),
    response=STREAM,
    errors=(Conflict,),
    summary="Stream the events of a room, durable and live",
)
def get_stream(
    user: User,
    room: Room,
    request: HttpRequest,
    after: AfterSeq = 0,
    last_event_id: LastEventId | None = None,
) -> HttpResponse:
    after = after if last_event_id is None else last_event_id
    event_log.check_seq(room, after)
    return open_stream(request, user, room.pk, after)


class SteerCreate(Body, frozen=True):
    """A line to an answer. Mentions in it have no effect."""

    text: Annotated[
        str, Meta(extra_json_schema={"minLength": 1, "maxLength": accepted_lines.MAX_CHARACTERS})
    ]


class SteerBody(Struct, frozen=True):
    """The id of a line, as in `steered` of the answer."""

    id: UUID


@routes.add("GET /runs/{uuid:run_id}", Gate(access_run, VIEW), summary="Get a run")
def get_run(user: User, run: Run) -> RunBody:
    return run_body(run, queue.position_of(run))


@routes.add("POST /runs/{uuid:run_id}/cancel", Gate(access_run, VIEW), summary="Cancel a run")
def cancel_run(user: User, run: Run) -> RunBody:
    return run_body(services.cancel_run(user=user, run_id=run.pk))


@routes.add(
    "POST /runs/{uuid:run_id}/retry",
    Gate(access_run, VIEW),
    status=201,
    location="/runs/{id}",
    summary="Answer the same message again with a new run",
)
def retry_run(user: User, run: Run) -> RunBody:
    retried = services.retry_run(user=user, run_id=run.pk)
    return run_body(retried, queue.position_of(retried))


@routes.add(
    "POST /runs/{uuid:run_id}/steer",
    gate_if_invalid=Gate(access_run, POST),
    errors=(Conflict, TooLarge),
    status=202,
    summary="Steer an answer that is being made",
)
def steer_run(user: User, run_id: UUID, body: SteerCreate) -> SteerBody:
    """The next request to the model contains the line. `message.updated` shows what became of it:
    it is `applied`, or it has `failed` because the answer ended first."""
    return SteerBody(services.steer_run(user=user, run_id=run_id, text=body.text).pk)


def _parse_cursor(cursor: str | None) -> int:
    """Return the seq in a cursor of `get_events`; raises Invalid."""
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 16:
        raise Invalid(fields={"cursor": "Expected a seq"})
    return int(cursor)
