"""The REST endpoints of rooms, their people, messages and runs; live, the same is on the socket."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import msgspec
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from accounts.errors import Invalid
from accounts.gate import CREATE_ROOM, JOIN_ROOM, access_team, signed_in
from accounts.gate import VIEW as VIEW_TEAM
from accounts.rest import LONGEST_PAGE, Body, Cursor, Limit, read_body, takes
from agents.permissions import CHANGE, access_persona
from rooms import history, line, services
from rooms.bodies import member_body, room_body, run_body
from rooms.events import MemberBody, MessageBody, RoomBody, RunBody
from rooms.models import Room
from rooms.openapi import gives, listed, wire_schema
from rooms.permissions import (
    MANAGE,
    POST,
    VIEW,
    access_message,
    access_open_room,
    access_room,
    access_run,
)

router = Router(tags=["rooms"])

Privacy = Literal["private", "team"]
Policy = Literal["default", "mention", "thread", "off"]
Role = Literal["owner", "moderator", "member", "reader"]
After = Annotated[int | None, Query(ge=0)]
Joinable = Annotated[bool, Query(description="those that one is not in and may join")]

Row = TypeVar("Row", bound=Model)


class RoomWish(Body):
    """A room to be made; its first persona answers unless `default_persona` says otherwise."""

    name: str = Field(min_length=1, max_length=80)
    topic: str = Field("", max_length=250)
    privacy: Privacy = "private"
    answer_policy: Policy = "default"
    personas: list[UUID] = Field(default=[], max_length=100)
    default_persona: UUID | None = None


class RoomChanges(Body):
    """What may change about a room; what is left out stays."""

    name: str = Field("", min_length=1, max_length=80)
    topic: str = Field("", max_length=250)
    privacy: Privacy = "private"
    answer_policy: Policy = "default"
    default_persona: UUID | None = None
    archived: bool = False


class MemberWish(Body):
    """As what somebody is to be in the room."""

    role: Role = "member"


class MessageWish(Body):
    """Something to say; the same `client_id` again is the same message."""

    text: str
    client_id: UUID | None = None
    reply_to: UUID | None = None
    personas: list[UUID] | None = Field(None, max_length=100)


class ConfinementWish(Body):
    """The only rooms that a persona may be bound to; null is any."""

    rooms: list[UUID] | None = Field(max_length=1_000)


class Confinement(msgspec.Struct, frozen=True):
    """The only rooms that a persona may be bound to; null is any."""

    rooms: list[UUID] | None


class Posted(msgspec.Struct, frozen=True):
    """What became of a message: itself, and the runs that answer it."""

    message: MessageBody
    runs: list[UUID]


@router.get("/wire.json", summary="The schema of the socket")
def get_wire(request: HttpRequest) -> HttpResponse:
    signed_in(request)
    return _answer(wire_schema())


@router.get("/teams/{uuid:team_id}/rooms", openapi_extra=listed(RoomBody), summary="My rooms")
def get_rooms(
    request: HttpRequest,
    team_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
    *,
    joinable: Joinable = False,
) -> HttpResponse:
    user = signed_in(request)
    team = access_team(user, team_id, JOIN_ROOM if joinable else VIEW_TEAM)
    mine = Room.objects.visible_to(user).filter(team=team)
    rooms = (services.joinable_rooms(user, team) if joinable else mine).order_by("-pk")
    if cursor is not None:
        rooms = rooms.filter(pk__lt=_uuid(cursor))
    return _page(rooms, _each(room_body), limit, "id")


@router.post(
    "/teams/{uuid:team_id}/rooms",
    openapi_extra={**takes(RoomWish), **gives(RoomBody, 201)},
    summary="Make a room",
)
def post_room(request: HttpRequest, team_id: UUID) -> HttpResponse:
    user = signed_in(request)
    access_team(user, team_id, CREATE_ROOM)
    wish = read_body(request, RoomWish)
    room = services.create_room(user=user, team_id=team_id, **wish.model_dump())
    return _answer(room_body(room), 201)


@router.get("/rooms/{uuid:room_id}", openapi_extra=gives(RoomBody), summary="A room")
def get_room(request: HttpRequest, room_id: UUID) -> HttpResponse:
    return _answer(room_body(access_room(signed_in(request), room_id, VIEW)))


@router.patch(
    "/rooms/{uuid:room_id}",
    openapi_extra={**takes(RoomChanges), **gives(RoomBody)},
    summary="Change a room",
)
def patch_room(request: HttpRequest, room_id: UUID) -> HttpResponse:
    user = signed_in(request)
    access_room(user, room_id, MANAGE, even_archived=True)
    changes = read_body(request, RoomChanges).model_dump(exclude_unset=True)
    return _answer(room_body(services.update_room(user=user, room_id=room_id, **changes)))


@router.get(
    "/rooms/{uuid:room_id}/members", openapi_extra=listed(MemberBody), summary="Who is in a room"
)
def get_members(
    request: HttpRequest,
    room_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
) -> HttpResponse:
    room = access_room(signed_in(request), room_id, VIEW)
    members = room.members.active().select_related("user").order_by("user_id")
    if cursor is not None:
        members = members.filter(user_id__gt=_uuid(cursor))
    return _page(members, _each(member_body), limit, "user")


@router.put(
    "/rooms/{uuid:room_id}/members/{uuid:member_id}",
    openapi_extra={**takes(MemberWish), **gives(MemberBody)},
    summary="Add somebody, change their role, or join an open room",
)
def put_member(request: HttpRequest, room_id: UUID, member_id: UUID) -> HttpResponse:
    user = signed_in(request)
    if member_id == user.pk and not Room.objects.visible_to(user).filter(pk=room_id).exists():
        access_open_room(user, room_id)
        role = read_body(request, MemberWish).role
        member = services.join_room(user=user, room_id=room_id, role=role)
    else:
        access_room(user, room_id, MANAGE)
        role = read_body(request, MemberWish).role
        member = services.put_member(user=user, room_id=room_id, member_id=member_id, role=role)
    return _answer(member_body(member))


@router.delete(
    "/rooms/{uuid:room_id}/members/{uuid:member_id}",
    response={204: None},
    summary="Remove somebody, or leave",
)
def delete_member(request: HttpRequest, room_id: UUID, member_id: UUID) -> None:
    services.remove_member(user=signed_in(request), room_id=room_id, member_id=member_id)


@router.delete(
    "/rooms/{uuid:room_id}", response={204: None}, summary="Delete a room for everybody, for ever"
)
def delete_room(request: HttpRequest, room_id: UUID) -> None:
    services.delete_room(user=signed_in(request), room_id=room_id)


@router.put(
    "/rooms/{uuid:room_id}/personas/{uuid:persona_id}",
    response={204: None},
    summary="Let a persona answer in a room",
)
def put_persona(request: HttpRequest, room_id: UUID, persona_id: UUID) -> None:
    services.bind_persona(user=signed_in(request), room_id=room_id, persona_id=persona_id)


@router.delete(
    "/rooms/{uuid:room_id}/personas/{uuid:persona_id}",
    response={204: None},
    summary="Take a persona out of a room",
)
def delete_persona(request: HttpRequest, room_id: UUID, persona_id: UUID) -> None:
    services.unbind_persona(user=signed_in(request), room_id=room_id, persona_id=persona_id)


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
    before: After = None,
    after: After = None,
) -> HttpResponse:
    room = access_room(signed_in(request), room_id, VIEW)
    messages = room.messages.order_by("-seq")
    for seq in (before, _seq(cursor)):
        messages = messages if seq is None else messages.filter(seq__lt=seq)
    if after is not None:
        messages = messages.filter(seq__gt=after)
    return _page(messages, history.bodies, limit, "seq")


@router.post(
    "/rooms/{uuid:room_id}/messages",
    openapi_extra={**takes(MessageWish), **gives(Posted, 201)},
    summary="Say something",
)
def post_message(request: HttpRequest, room_id: UUID) -> HttpResponse:
    user = signed_in(request)
    access_room(user, room_id, POST)
    wish = read_body(request, MessageWish)
    posted = services.post_message(user=user, room_id=room_id, **wish.model_dump())
    (body,) = history.bodies([posted.message])
    return _answer(Posted(message=body, runs=posted.runs), 201)


@router.get("/messages/{uuid:message_id}", openapi_extra=gives(MessageBody), summary="A message")
def get_message(request: HttpRequest, message_id: UUID) -> HttpResponse:
    message = access_message(signed_in(request), message_id, VIEW)
    (body,) = history.bodies([message])
    return _answer(body)


@router.get("/runs/{uuid:run_id}", openapi_extra=gives(RunBody), summary="A run")
def get_run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = access_run(signed_in(request), run_id, VIEW)
    return _answer(run_body(run, line.place_of(run)))


@router.post("/runs/{uuid:run_id}/cancel", openapi_extra=gives(RunBody), summary="Stop an answer")
def cancel_run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    return _answer(run_body(services.cancel_run(user=signed_in(request), run_id=run_id)))


@router.post(
    "/runs/{uuid:run_id}/retry", openapi_extra=gives(RunBody, 201), summary="Ask once more"
)
def retry_run(request: HttpRequest, run_id: UUID) -> HttpResponse:
    run = services.retry_run(user=signed_in(request), run_id=run_id)
    return _answer(run_body(run, line.place_of(run)), 201)


@router.get(
    "/personas/{uuid:persona_id}/rooms",
    openapi_extra=gives(Confinement),
    summary="Where a persona may answer",
)
def get_confinement(request: HttpRequest, persona_id: UUID) -> HttpResponse:
    persona = access_persona(signed_in(request), persona_id, CHANGE)
    allowed = persona.allowed_rooms.order_by("room_id").values_list("room_id", flat=True)
    return _answer(Confinement(rooms=list(allowed) if persona.confined else None))


@router.put(
    "/personas/{uuid:persona_id}/rooms",
    openapi_extra={**takes(ConfinementWish), **gives(Confinement)},
    summary="Keep a persona to some rooms",
)
def put_confinement(request: HttpRequest, persona_id: UUID) -> HttpResponse:
    user = signed_in(request)
    access_persona(user, persona_id, CHANGE)
    wish = read_body(request, ConfinementWish).rooms
    allowed = services.confine_persona(user=user, persona_id=persona_id, room_ids=wish)
    return _answer(Confinement(rooms=None if wish is None else allowed))


def _answer(body: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(body), content_type="application/json", status=status)


def _page(
    rows: QuerySet[Row], shape: Callable[[list[Row]], list[Any]], limit: int, key: str
) -> HttpResponse:
    """Answer with one page of rows; `key` names the field of a body that goes on from there."""
    limit = min(limit, LONGEST_PAGE)
    items = shape(list(rows[: limit + 1]))
    following = str(getattr(items[limit - 1], key)) if len(items) > limit else None
    return _answer({"items": items[:limit], "next": following})


def _each(body: Callable[[Row], Any]) -> Callable[[list[Row]], list[Any]]:
    return lambda rows: [body(row) for row in rows]


def _uuid(cursor: str) -> UUID:
    try:
        return UUID(cursor)
    except ValueError:
        raise Invalid from None


def _seq(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise Invalid
    return int(cursor)
