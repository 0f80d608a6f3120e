"""The REST endpoints of rooms, their members and their personas."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from accounts.api.bodies import Body
from accounts.api.pagination import MAX_PAGE, Cursor, Limit, Page, Words, each, page_of
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict, NotFound
from accounts.models import Team, User
from accounts.permissions import CREATE_ROOM, JOIN_ROOM, access_team
from accounts.permissions import VIEW as VIEW_TEAM
from agents.models import Persona
from agents.permissions import CHANGE, access_persona
from rooms import queries, services
from rooms.models import MAX_PERSONA_TURNS, Room
from rooms.permissions import MANAGE, VIEW, access_open_room, access_room
from rooms.protocol.payloads import MemberBody, RoomBody
from rooms.protocol.serializers import member_body, room_body
from rooms.services.personas import bindable

routes = Routes("rooms")

RoomName = Annotated[str, Meta(min_length=1, max_length=80)]
Topic = Annotated[str, Meta(max_length=250)]
PrivacyName = Literal["private", "team"]
PolicyName = Literal["default", "mention", "thread", "off"]
PersonaTurns = Annotated[int, Meta(ge=0, le=MAX_PERSONA_TURNS)]
PlaceName = Literal["room", "thread"]
ModeName = Literal["each", "round", "led"]
RoleName = Literal["owner", "moderator", "member", "reader"]
Joinable = Annotated[bool, Meta(description="list the rooms that the user may join instead")]


class RoomCreate(Body, frozen=True):
    """A new room. Without `default_persona`, the first of `personas` is the default persona.

    In the mode `led` without `lead`, the default persona leads.
    """

    name: RoomName
    topic: Topic = ""
    privacy: PrivacyName = "private"
    answer_policy: PolicyName = "default"
    persona_turns: PersonaTurns = 0
    answers_in: PlaceName = "room"
    mode: ModeName = "each"
    other_decides: bool = False
    personas: Annotated[tuple[UUID, ...], Meta(max_length=100)] = ()
    default_persona: UUID | None = None
    lead: UUID | None = None


class DirectOpen(Body, frozen=True):
    """The users and personas of a direct room; the current user is in it in any case."""

    users: Annotated[tuple[UUID, ...], Meta(max_length=100)] = ()
    personas: Annotated[tuple[UUID, ...], Meta(max_length=100)] = ()


class RoomUpdate(Body, frozen=True):
    """Changes to a room. An absent field does not change."""

    name: RoomName | UnsetType = UNSET
    topic: Topic | UnsetType = UNSET
    privacy: PrivacyName | UnsetType = UNSET
    for_everyone: bool | UnsetType = UNSET
    answer_policy: PolicyName | UnsetType = UNSET
    persona_turns: PersonaTurns | UnsetType = UNSET
    answers_in: PlaceName | UnsetType = UNSET
    mode: ModeName | UnsetType = UNSET
    lead: UUID | UnsetType | None = UNSET
    other_decides: bool | UnsetType = UNSET
    summarizes: bool | UnsetType = UNSET
    default_persona: UUID | UnsetType | None = UNSET
    archived: bool | UnsetType = UNSET


class RoomMemberUpdate(Body, frozen=True):
    """The role of a member of a room."""

    role: RoleName = "member"


class RoomPersonaUpdate(Body, frozen=True):
    """A persona in a room. A muted persona answers only messages that name or mention it."""

    muted: bool | UnsetType = UNSET


class PersonaRoomsUpdate(Body, frozen=True):
    """The rooms that a persona may be bound to; null allows every room of the team."""

    rooms: Annotated[tuple[UUID, ...], Meta(max_length=1_000)] | None


class PersonaRoomsBody(Struct, frozen=True):
    """The rooms that a persona may be bound to; null allows every room of the team."""

    rooms: list[UUID] | None


def _access_listing(user: User, team_id: UUID, *, joinable: bool) -> Team:
    return access_team(user, team_id, JOIN_ROOM if joinable else VIEW_TEAM)


@routes.add(
    "GET /teams/{uuid:team_id}/rooms",
    Gate(_access_listing),
    summary="List the rooms of a team that the current user is in",
)
def get_rooms(
    user: User,
    team: Team,
    limit: Limit = MAX_PAGE,
    cursor: Cursor = None,
    *,
    joinable: Joinable = False,
) -> Page[RoomBody]:
    joined = Room.objects.visible_to(user).filter(team=team)
    rooms = services.joinable_rooms(user, team) if joinable else joined
    return page_of(rooms, lambda found: _bodies(user, found), limit=limit, cursor=cursor)


def _bodies(user: User, rooms: list[Room]) -> list[RoomBody]:
    queries.name_direct_rooms(user, rooms)
    return [room_body(room) for room in rooms]


@routes.add(
    "POST /teams/{uuid:team_id}/direct",
    Gate(access_team, CREATE_ROOM),
    errors=(Conflict,),
    idempotency="repeat",
    summary="Open the direct room of exactly these users and personas",
)
def post_direct(user: User, team: Team, body: DirectOpen) -> RoomBody:
    """The same set always gets the same room."""
    room = services.open_direct_room(
        user=user, team_id=team.pk, users=body.users, personas=body.personas
    )
    (found,) = _bodies(user, [room])
    return found


@routes.add(
    "POST /teams/{uuid:team_id}/rooms",
    Gate(access_team, CREATE_ROOM),
    status=201,
    location="/rooms/{id}",
    summary="Create a room",
)
def post_room(user: User, team: Team, body: RoomCreate) -> RoomBody:
    fields = structs.asdict(body)
    return room_body(services.create_room(user=user, team_id=team.pk, **fields))


@routes.add("GET /rooms/{uuid:room_id}", Gate(access_room, VIEW), summary="Get a room")
def get_room(user: User, room: Room) -> RoomBody:
    queries.name_direct_rooms(user, [room])
    return room_body(room, room.members.active().count())


def _access_room_to_update(user: User, room_id: UUID) -> Room:
    return access_room(user, room_id, MANAGE, even_archived=True)


@routes.add(
    "PATCH /rooms/{uuid:room_id}",
    Gate(_access_room_to_update),
    errors=(Conflict,),
    summary="Update, archive or restore a room",
)
def patch_room(user: User, room: Room, body: RoomUpdate) -> RoomBody:
    return room_body(services.update_room(user=user, room_id=room.pk, **body.changes()))


@routes.add(
    "DELETE /rooms/{uuid:room_id}",
    gate_if_invalid=Gate(_access_room_to_update),
    summary="Delete a room permanently",
)
def delete_room(user: User, room_id: UUID) -> None:
    services.delete_room(user=user, room_id=room_id)


@routes.add(
    "GET /rooms/{uuid:room_id}/members",
    Gate(access_room, VIEW),
    summary="List the members of a room",
)
def get_members(
    user: User,
    room: Room,
    limit: Limit = MAX_PAGE,
    cursor: Cursor = None,
    *,
    q: Words = "",
) -> Page[MemberBody]:
    members = queries.members_like(room, q).select_related("user")
    return page_of(
        members, each(member_body), limit=limit, cursor=cursor, key="user_id", ascending=True
    )


def _access_membership(user: User, room_id: UUID, member_id: UUID) -> Room | None:
    """Return the room; None if the user asks to join a room that is open to the team."""
    if member_id != user.pk:
        return access_room(user, room_id, MANAGE)
    if Room.objects.visible_to(user).filter(pk=room_id).exists():
        return access_room(user, room_id, VIEW)
    access_open_room(user, room_id)
    return None


@routes.add(
    "PUT /rooms/{uuid:room_id}/members/{uuid:member_id}",
    Gate(_access_membership),
    errors=(Conflict,),
    summary="Add a member, change the role of a member, or join an open room",
)
def put_member(
    user: User, room: Room | None, room_id: UUID, member_id: UUID, body: RoomMemberUpdate
) -> MemberBody:
    if room is None:
        return member_body(services.join_room(user=user, room_id=room_id, role=body.role))
    if member_id == user.pk:
        # A user who already has the role needs no permission to keep it.
        members = room.members.active().select_related("user")
        if unchanged := members.filter(user=user, role=body.role).first():
            return member_body(unchanged)
    return member_body(
        services.put_member(user=user, room_id=room_id, member_id=member_id, role=body.role)
    )


def _access_member_to_remove(user: User, room_id: UUID, member_id: UUID) -> None:
    needs = VIEW if member_id == user.pk else MANAGE
    room = access_room(user, room_id, needs, even_archived=True)
    if not room.members.active().filter(user=member_id).exists():
        raise NotFound


@routes.add(
    "DELETE /rooms/{uuid:room_id}/members/{uuid:member_id}",
    gate_if_invalid=Gate(_access_member_to_remove),
    errors=(Conflict,),
    summary="Remove a member from a room, or leave the room",
)
def delete_member(user: User, room_id: UUID, member_id: UUID) -> None:
    services.remove_member(user=user, room_id=room_id, member_id=member_id)


def _access_persona_to_bind(user: User, room_id: UUID, persona_id: UUID) -> None:
    room = access_room(user, room_id, MANAGE)
    is_bound = room.bindings.filter(persona=persona_id).exists()
    if not is_bound and not bindable(user, room.team_id).filter(pk=persona_id).exists():
        raise NotFound


@routes.add(
    "PUT /rooms/{uuid:room_id}/personas/{uuid:persona_id}",
    gate_if_invalid=Gate(_access_persona_to_bind),
    errors=(Conflict,),
    optional_body=True,
    summary="Bind a persona to a room; mute or unmute it there",
)
def put_persona(user: User, room_id: UUID, persona_id: UUID, body: RoomPersonaUpdate) -> None:
    services.bind_persona(user=user, room_id=room_id, persona_id=persona_id, **body.changes())


def _access_binding(user: User, room_id: UUID, persona_id: UUID) -> None:
    room = access_room(user, room_id, MANAGE)
    if not room.bindings.filter(persona=persona_id).exists():
        raise NotFound


@routes.add(
    "DELETE /rooms/{uuid:room_id}/personas/{uuid:persona_id}",
    gate_if_invalid=Gate(_access_binding),
    summary="Unbind a persona from a room",
)
def delete_persona(user: User, room_id: UUID, persona_id: UUID) -> None:
    services.unbind_persona(user=user, room_id=room_id, persona_id=persona_id)


@routes.add(
    "GET /personas/{uuid:persona_id}/rooms",
    Gate(access_persona, CHANGE),
    summary="List the rooms that a persona may be bound to",
)
def get_persona_rooms(user: User, persona: Persona) -> PersonaRoomsBody:
    """Rooms that the current user cannot see are left out."""
    visible = Room.objects.visible_to(user)
    allowed = persona.allowed_rooms.filter(room__in=visible).order_by("room_id")
    room_ids = list(allowed.values_list("room_id", flat=True))
    return PersonaRoomsBody(rooms=room_ids if persona.confined else None)


@routes.add(
    "PUT /personas/{uuid:persona_id}/rooms",
    Gate(access_persona, CHANGE),
    summary="Set the rooms that a persona may be bound to",
)
def put_persona_rooms(user: User, persona: Persona, body: PersonaRoomsUpdate) -> PersonaRoomsBody:
    """The persona is unbound from all other rooms."""
    allowed = services.confine_persona(user=user, persona_id=persona.pk, room_ids=body.rooms)
    return PersonaRoomsBody(rooms=None if body.rooms is None else allowed)
