"""The template context of every page of a team: the sidebar's rooms, personas and people."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Left

from accounts.models import Team, User, active_member
from accounts.permissions import (
    CREATE_ROOM,
    JOIN_ROOM,
    MANAGE_AGENTS,
    MANAGE_PEOPLE,
    team_permissions,
)
from agents.models import Persona
from agents.permissions import personas_visible_to
from rooms.fanout.unread import Unread, count_unread
from rooms.models import Message, Room, RoomMember, RoomPersona
from rooms.services import joinable_rooms

LAST_LINE: Final = 120


@dataclass(frozen=True, slots=True)
class RoomRow:
    """A room in the sidebar."""

    id: UUID
    name: str
    topic: str
    privacy: str
    unread: int
    mentions: int
    last_line: str
    archived: bool


def shell_context(user: User, team: Team, room: Room | None = None) -> dict[str, Any]:
    """Return the context of `shell.html`; the number of queries does not depend on the data."""
    permissions = team_permissions(user, team)
    rows = room_rows(user, team)
    return {
        "team": team,
        "teams": Team.objects.visible_to(user),
        "rooms": [row for row in rows if not row.archived],
        "archived": [row for row in rows if row.archived],
        "personas": personas_around(user, team, team_wide=CREATE_ROOM in permissions),
        "people": people_around(user, team, team_wide=CREATE_ROOM in permissions),
        "me": user,
        "can_manage": MANAGE_AGENTS in permissions,
        "can_create_rooms": CREATE_ROOM in permissions,
        "may_join": JOIN_ROOM in permissions,
        "may_invite": MANAGE_PEOPLE in permissions,
        "current_room_id": room.pk if room else None,
    }


def home_context(user: User, team: Team) -> dict[str, Any]:
    """Return the context of the list of rooms, including rooms that `user` may join."""
    page = shell_context(user, team)
    page["joinable"] = joinable_rooms(user, team).order_by("name", "pk") if page["may_join"] else []
    return page


def room_rows(user: User, team: Team) -> list[RoomRow]:
    """Return the user's rooms in the team, with unread counts and the start of the last message."""
    said = Message.objects.filter(room=OuterRef("pk")).exclude(text="").order_by("-seq")
    last = said.annotate(line=Left("text", LAST_LINE))
    rooms = (
        Room.objects.visible_to(user)
        .filter(team=team)
        .annotate(
            last_author=Subquery(last.values("author_name")[:1]),
            last_text=Subquery(last.values("line")[:1]),
        )
        .order_by("name", "pk")
    )
    new = {each.room: each for each in count_unread([room.pk for room in rooms], [user.pk])}
    return [_row(room, new[room.pk]) for room in rooms if room.pk in new]


def people_around(user: User, team: Team, *, team_wide: bool) -> QuerySet[User]:
    """Return the other people of the team; if not `team_wide`, only people who share a room."""
    people = User.objects.filter(active_member("memberships__"), memberships__team=team)
    people = people.exclude(pk=user.pk)
    if not team_wide:
        shared = Room.objects.visible_to(user).filter(team=team)
        inside = RoomMember.objects.active().filter(room__in=shared)
        people = people.filter(pk__in=inside.values("user"))
    return people.order_by("name", "pk")


def personas_around(user: User, team: Team, *, team_wide: bool) -> QuerySet[Persona]:
    """Return the personas that `user` may see, and those bound to one of the user's rooms."""
    met = RoomPersona.objects.filter(room__in=Room.objects.visible_to(user))
    seen = personas_visible_to(user, team, team_wide=team_wide)
    return Persona.objects.filter(
        Q(pk__in=seen.values("pk")) | Q(pk__in=met.values("persona")), team=team
    )


def _row(room: Any, new: Unread) -> RoomRow:
    """Build a row from a room with the annotations of `room_rows`."""
    return RoomRow(
        id=room.pk,
        name=room.name,
        topic=room.topic,
        privacy=room.privacy,
        unread=new.messages,
        mentions=new.mentions,
        last_line=_line(room.last_author, room.last_text) if room.last_text else "",
        archived=room.archived_at is not None,
    )


def _line(author: str, text: str) -> str:
    cut = "…" if len(text) == LAST_LINE else ""
    return f"{author}: {' '.join(text.split())}{cut}"
