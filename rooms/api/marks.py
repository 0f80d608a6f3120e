"""The REST endpoints of pins, of the read position, and of the place of a room in the sidebar."""

from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from accounts.api.bodies import Body
from accounts.api.pagination import Cursor, Limit, Page, page_of
from accounts.api.routing import Gate, Routes
from accounts.errors import Conflict, NotFound
from accounts.models import User
from rooms import queries, services
from rooms.models import Room, RoomMember
from rooms.permissions import POST, VIEW, access_message, access_room
from rooms.protocol.commands import Seq
from rooms.protocol.payloads import MessageBody

routes = Routes("messages")


class ReadPositionUpdate(Body, frozen=True):
    """The last seq that the user has read; it may be before the current position."""

    seq: Seq


class PlaceUpdate(Body, frozen=True):
    """What the current user sets for a room; other members do not see it.

    The sidebar shows no counts of a muted room. An absent field does not change.
    """

    muted: bool | UnsetType = UNSET
    favourite: bool | UnsetType = UNSET


class PlaceBody(Struct, frozen=True):
    """What the current user has set for a room."""

    muted: bool
    favourite: bool


class UnreadBody(Struct, frozen=True):
    """The numbers of unread messages, and of those that mention the user; at most 1,000."""

    unread: int
    mentions: int


@routes.add(
    "GET /rooms/{uuid:room_id}/pins",
    Gate(access_room, VIEW),
    summary="List the pinned messages of a room, the last pinned first",
)
def get_pins(user: User, room: Room, limit: Limit = 50, cursor: Cursor = None) -> Page[MessageBody]:
    return page_of(
        queries.pinned_messages(room),
        queries.bodies,
        limit=limit,
        cursor=cursor,
        key="pinned_seq",
        fitting=queries.within_bytes,
    )


@routes.add(
    "PUT /messages/{uuid:message_id}/pin",
    gate_if_invalid=Gate(access_message, POST),
    errors=(Conflict,),
    summary="Pin a message in its room",
)
def put_pin(user: User, message_id: UUID) -> None:
    services.pin_message(user=user, message_id=message_id, on=True)


@routes.add(
    "DELETE /messages/{uuid:message_id}/pin",
    gate_if_invalid=Gate(access_message, POST),
    errors=(Conflict,),
    summary="Remove the pin of a message",
)
def delete_pin(user: User, message_id: UUID) -> None:
    services.pin_message(user=user, message_id=message_id, on=False)


@routes.add(
    "PUT /rooms/{uuid:room_id}/read",
    Gate(access_room, VIEW),
    summary="Set the read position of the current user in a room",
)
def put_read_position(user: User, room: Room, body: ReadPositionUpdate) -> UnreadBody:
    counts = services.set_read_position(user=user, room_id=room.pk, seq=body.seq)
    return UnreadBody(unread=counts.messages, mentions=counts.mentions)


@routes.add(
    "GET /rooms/{uuid:room_id}/place",
    Gate(access_room, VIEW),
    summary="Get whether a room is muted or a favourite of the current user",
)
def get_place(user: User, room: Room) -> PlaceBody:
    member = room.members.filter(user=user).first()
    if member is None:  # removed since the gate
        raise NotFound
    return _place_body(member)


@routes.add(
    "PATCH /rooms/{uuid:room_id}/place",
    Gate(access_room, VIEW),
    summary="Mute a room or make it a favourite, for the current user",
)
def patch_place(user: User, room: Room, body: PlaceUpdate) -> PlaceBody:
    return _place_body(services.place_room(user=user, room_id=room.pk, **body.changes()))


def _place_body(member: RoomMember) -> PlaceBody:
    return PlaceBody(muted=member.muted, favourite=member.favourite)
