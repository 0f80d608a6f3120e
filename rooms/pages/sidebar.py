"""The template context of every page of a team: the sidebar's rooms, personas and people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Left

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
SIDEBAR_ITEMS: Final = 50
PAGE_ITEMS: Final = 100

Row = TypeVar("Row", bound=Model)


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


@dataclass(frozen=True, slots=True)
class HomePages:
    """The numbers of the pages that the list of rooms shows."""

    rooms: str
    joinable: str
    archived: str


def shell_context(user: User, team: Team, room: Room | None = None) -> dict[str, Any]:
    """Return the context of `shell.html`.

    Neither the number of queries nor the size of the page depends on the data: each list has at
    most SIDEBAR_ITEMS items, and the page links to the rest.
    """
    permissions = team_permissions(user, team)
    team_wide = CREATE_ROOM in permissions
    rooms, has_more_rooms = _first(_open_rooms(user, team).order_by("-active_at", "pk"))
    if room is not None and room not in rooms:
        rooms += _open_rooms(user, team).filter(pk=room.pk)
    personas, has_more_personas = _first(personas_around(user, team, team_wide=team_wide))
    people, has_more_people = _first(people_around(user, team, team_wide=team_wide))
    return {
        "team": team,
        "teams": Team.objects.visible_to(user),
        "rooms": rows_of(user, sorted(rooms, key=lambda each: (each.name, each.pk))),
        "has_more_rooms": has_more_rooms,
        "personas": personas,
        "has_more_personas": has_more_personas,
        "people": people,
        "has_more_people": has_more_people,
        "me": user,
        "can_manage": MANAGE_AGENTS in permissions,
        "can_create_rooms": CREATE_ROOM in permissions,
        "may_join": JOIN_ROOM in permissions,
        "may_invite": MANAGE_PEOPLE in permissions,
        "current_room_id": room.pk if room else None,
    }


def home_context(user: User, team: Team, pages: HomePages) -> dict[str, Any]:
    """Return the context of the list of rooms, including rooms that `user` may join."""
    context = shell_context(user, team)
    joinable = joinable_rooms(user, team) if context["may_join"] else Room.objects.none()
    own = Room.objects.visible_to(user).filter(team=team)
    rooms = _page(_open_rooms(user, team).order_by("name", "pk"), pages.rooms)
    return context | {
        "room_page": rooms,
        "room_rows": rows_of(user, list(rooms)),
        "joinable": _page(joinable.order_by("name", "pk"), pages.joinable),
        "archived": _page(own.exclude(archived_at=None).order_by("name", "pk"), pages.archived),
    }


def _page(rows: QuerySet[Row], number: str) -> Page[Row]:
    """Return a page of PAGE_ITEMS rows; the nearest page for a wrong number."""
    return Paginator(rows, PAGE_ITEMS).get_page(number)


def _first(rows: QuerySet[Row]) -> tuple[list[Row], bool]:
    """Return the first SIDEBAR_ITEMS rows, and True if there are more."""
    found = list(rows[: SIDEBAR_ITEMS + 1])
    return found[:SIDEBAR_ITEMS], len(found) > SIDEBAR_ITEMS


def _open_rooms(user: User, team: Team) -> QuerySet[Any]:
    """Return the user's rooms in the team, with the start of the last message of each."""
    said = Message.objects.filter(room=OuterRef("pk")).exclude(text="").order_by("-seq")
    last = said.annotate(line=Left("text", LAST_LINE))
    rooms = Room.objects.visible_to(user).filter(team=team, archived_at=None)
    return rooms.annotate(
        last_author=Subquery(last.values("author_name")[:1]),
        last_text=Subquery(last.values("line")[:1]),
        active_at=Coalesce(Subquery(last.values("created_at")[:1]), "created_at"),
    )


def rows_of(user: User, rooms: Sequence[Room]) -> list[RoomRow]:
    """Return the rows of rooms from `_open_rooms`, with unread counts, in the same order."""
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
    """Build a row from a room with the annotations of `_open_rooms`."""
    return RoomRow(
        id=room.pk,
        name=room.name,
        topic=room.topic,
        privacy=room.privacy,
        unread=new.messages,
        mentions=new.mentions,
        last_line=_line(room.last_author, room.last_text) if room.last_text else "",
    )


def _line(author: str, text: str) -> str:
    cut = "…" if len(text) == LAST_LINE else ""
    return f"{author}: {' '.join(text.split())}{cut}"
