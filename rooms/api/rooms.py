"""The REST endpoints of rooms and their people; live, the same is on the socket."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from accounts.api.endpoints import LONGEST_PAGE, Body, Cursor, Limit, read_body, takes
from accounts.api.idempotency import once
from accounts.models import User
from accounts.permissions import CREATE_ROOM, JOIN_ROOM, access_team, require_user
from accounts.permissions import VIEW as VIEW_TEAM
from agents.permissions import CHANGE, access_persona
from rooms import services
from rooms.api.responses import answer, each, page, uuid_of
from rooms.models import Room, RoomMember
from rooms.permissions import MANAGE, VIEW, access_open_room, access_room
from rooms.protocol.payloads import MemberBody, RoomBody
from rooms.protocol.schemas import gives, listed, wire_schema
from rooms.protocol.serializers import member_body, room_body

router = Router(tags=["rooms"])

Privacy = Literal["private", "team"]
Policy = Literal["default", "mention", "thread", "off"]
Role = Literal["owner", "moderator", "member", "reader"]
Joinable = Annotated[bool, Query(description="those that one is not in and may join")]


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


class ConfinementWish(Body):
    """The only rooms that a persona may be bound to; null is any."""

    rooms: list[UUID] | None = Field(max_length=1_000)


class Confinement(msgspec.Struct, frozen=True):
    """The only rooms that a persona may be bound to; null is any."""

    rooms: list[UUID] | None


@router.get("/wire.json", summary="The schema of the socket")
def get_wire(request: HttpRequest) -> HttpResponse:
    require_user(request)
    return answer(wire_schema())


@router.get("/teams/{uuid:team_id}/rooms", openapi_extra=listed(RoomBody), summary="My rooms")
def get_rooms(
    request: HttpRequest,
    team_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
    *,
    joinable: Joinable = False,
) -> HttpResponse:
    user = require_user(request)
    team = access_team(user, team_id, JOIN_ROOM if joinable else VIEW_TEAM)
    mine = Room.objects.visible_to(user).filter(team=team)
    rooms = (services.joinable_rooms(user, team) if joinable else mine).order_by("-pk")
    if cursor is not None:
        rooms = rooms.filter(pk__lt=uuid_of(cursor))
    return page(rooms, each(room_body), limit, "id")


@router.post(
    "/teams/{uuid:team_id}/rooms",
    openapi_extra={**takes(RoomWish), **gives(RoomBody, 201)},
    summary="Make a room",
)
def post_room(request: HttpRequest, team_id: UUID) -> HttpResponse:
    user = require_user(request)
    access_team(user, team_id, CREATE_ROOM)
    wish = read_body(request, RoomWish)

    def make() -> HttpResponse:
        room = services.create_room(user=user, team_id=team_id, **wish.model_dump())
        return answer(room_body(room), 201)

    return once(request, make)


@router.get("/rooms/{uuid:room_id}", openapi_extra=gives(RoomBody), summary="A room")
def get_room(request: HttpRequest, room_id: UUID) -> HttpResponse:
    return answer(room_body(access_room(require_user(request), room_id, VIEW)))


@router.patch(
    "/rooms/{uuid:room_id}",
    openapi_extra={**takes(RoomChanges), **gives(RoomBody)},
    summary="Change a room",
)
def patch_room(request: HttpRequest, room_id: UUID) -> HttpResponse:
    user = require_user(request)
    access_room(user, room_id, MANAGE, even_archived=True)
    changes = read_body(request, RoomChanges).model_dump(exclude_unset=True)
    return answer(room_body(services.update_room(user=user, room_id=room_id, **changes)))


@router.get(
    "/rooms/{uuid:room_id}/members", openapi_extra=listed(MemberBody), summary="Who is in a room"
)
def get_members(
    request: HttpRequest,
    room_id: UUID,
    limit: Limit = LONGEST_PAGE,
    cursor: Cursor = None,
) -> HttpResponse:
    room = access_room(require_user(request), room_id, VIEW)
    members = room.members.active().select_related("user").order_by("user_id")
    if cursor is not None:
        members = members.filter(user_id__gt=uuid_of(cursor))
    return page(members, each(member_body), limit, "user")


@router.put(
    "/rooms/{uuid:room_id}/members/{uuid:member_id}",
    openapi_extra={**takes(MemberWish), **gives(MemberBody)},
    summary="Add somebody, change their role, or join an open room",
)
def put_member(request: HttpRequest, room_id: UUID, member_id: UUID) -> HttpResponse:
    user = require_user(request)
    if member_id == user.pk:
        return answer(member_body(_put_oneself(request, user, room_id)))
    access_room(user, room_id, MANAGE)
    role = read_body(request, MemberWish).role
    member = services.put_member(user=user, room_id=room_id, member_id=member_id, role=role)
    return answer(member_body(member))


def _put_oneself(request: HttpRequest, user: User, room_id: UUID) -> RoomMember:
    """Join an open room. Whoever asks to be what they are already is told so, and it is no join."""
    if not Room.objects.visible_to(user).filter(pk=room_id).exists():
        access_open_room(user, room_id)
        role = read_body(request, MemberWish).role
        return services.join_room(user=user, room_id=room_id, role=role)
    room = access_room(user, room_id, VIEW)
    role = read_body(request, MemberWish).role
    member = room.members.active().select_related("user").filter(user=user, role=role).first()
    return member or services.put_member(user=user, room_id=room_id, member_id=user.pk, role=role)


@router.delete(
    "/rooms/{uuid:room_id}/members/{uuid:member_id}",
    response={204: None},
    summary="Remove somebody, or leave",
)
def delete_member(request: HttpRequest, room_id: UUID, member_id: UUID) -> None:
    services.remove_member(user=require_user(request), room_id=room_id, member_id=member_id)


@router.delete(
    "/rooms/{uuid:room_id}", response={204: None}, summary="Delete a room for everybody, for ever"
)
def delete_room(request: HttpRequest, room_id: UUID) -> None:
    services.delete_room(user=require_user(request), room_id=room_id)


@router.put(
    "/rooms/{uuid:room_id}/personas/{uuid:persona_id}",
    response={204: None},
    summary="Let a persona answer in a room",
)
def put_persona(request: HttpRequest, room_id: UUID, persona_id: UUID) -> None:
    services.bind_persona(user=require_user(request), room_id=room_id, persona_id=persona_id)


@router.delete(
    "/rooms/{uuid:room_id}/personas/{uuid:persona_id}",
    response={204: None},
    summary="Take a persona out of a room",
)
def delete_persona(request: HttpRequest, room_id: UUID, persona_id: UUID) -> None:
    services.unbind_persona(user=require_user(request), room_id=room_id, persona_id=persona_id)


@router.get(
    "/personas/{uuid:persona_id}/rooms",
    openapi_extra=gives(Confinement),
    summary="Where a persona may answer",
)
def get_confinement(request: HttpRequest, persona_id: UUID) -> HttpResponse:
    """Rooms that one is not in are left out: even that they are there is not told."""
    user = require_user(request)
    persona = access_persona(user, persona_id, CHANGE)
    seen = persona.allowed_rooms.filter(room__in=Room.objects.visible_to(user)).order_by("room_id")
    allowed = list(seen.values_list("room_id", flat=True))
    return answer(Confinement(rooms=allowed if persona.confined else None))


@router.put(
    "/personas/{uuid:persona_id}/rooms",
    openapi_extra={**takes(ConfinementWish), **gives(Confinement)},
    summary="Keep a persona to some rooms",
)
def put_confinement(request: HttpRequest, persona_id: UUID) -> HttpResponse:
    user = require_user(request)
    access_persona(user, persona_id, CHANGE)
    wish = read_body(request, ConfinementWish).rooms
    allowed = services.confine_persona(user=user, persona_id=persona_id, room_ids=wish)
    return answer(Confinement(rooms=None if wish is None else allowed))
