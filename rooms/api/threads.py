"""The REST endpoints of threads: which ones a user follows, and how much of them is unread."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from accounts.api.pagination import Cursor, Limit, Page
from accounts.api.routing import Gate, Routes
from accounts.errors import NotFound
from accounts.models import Team, User
from accounts.permissions import VIEW as VIEW_TEAM
from accounts.permissions import access_team
from rooms import own_threads, services
from rooms.models import Message
from rooms.permissions import VIEW, access_message, access_room
from rooms.protocol.payloads import ThreadBody

routes = Routes("threads")

OfRoom = Annotated[UUID, Meta(description="only threads of this room")]


def _access_threads(user: User, team_id: UUID, room: UUID | None) -> Team:
    """Return the team; raises NotFound for a room that is not visible to the user in this team."""
    team = access_team(user, team_id, VIEW_TEAM)
    if room is not None and access_room(user, room, VIEW).team_id != team.pk:
        raise NotFound
    return team


@routes.add(
    "GET /teams/{uuid:team_id}/threads",
    Gate(_access_threads),
    summary="List the threads that the current user follows, unread ones first",
)
def get_threads(
    user: User,
    team: Team,
    limit: Limit = 50,
    cursor: Cursor = None,
    room: OfRoom | None = None,
) -> Page[ThreadBody]:
    rows = own_threads.followed_threads(user, team)
    if room is not None:
        rows = rows.filter(room=room)
    items, following = own_threads.page_of_threads(rows, limit=limit, cursor=cursor)
    return Page(items, following)


@routes.add(
    "GET /messages/{uuid:message_id}/follow",
    Gate(access_message, VIEW),
    summary="Get the thread of a message, and whether the current user follows it",
)
def get_follow(user: User, message: Message) -> ThreadBody:
    return own_threads.thread_of(user, message)


@routes.add(
    "PUT /messages/{uuid:message_id}/follow",
    gate_if_invalid=Gate(access_message, VIEW),
    summary="Follow the thread of a message",
)
def put_follow(user: User, message_id: UUID) -> None:
    services.follow_thread(user=user, message_id=message_id, on=True)


@routes.add(
    "DELETE /messages/{uuid:message_id}/follow",
    gate_if_invalid=Gate(access_message, VIEW),
    summary="Stop following the thread of a message",
)
def delete_follow(user: User, message_id: UUID) -> None:
    services.follow_thread(user=user, message_id=message_id, on=False)
