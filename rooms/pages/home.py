"""The template context of the home page: what needs the user, rooms to join, own personas."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Left
from django.utils import timezone

from accounts.models import Team, User
from agents.models import Persona
from agents.permissions import EDIT, granted_to
from rooms.models import AuthorKind, Mention, Message, Room, RoomMember, RoomPersona, RunState
from rooms.own_threads import followed_threads
from rooms.pages.acting.to_decide import waiting_items
from rooms.pages.sidebar import LAST_LINE, RoomRow, last_line, shell_context
from rooms.services import joinable_rooms

GROUP: Final = 8
"""The items of a group; the page shows if there are more."""
FACES: Final = 3
AWAY: Final = timedelta(days=30)
"""How far back the page looks for answers."""


@dataclass(frozen=True, slots=True)
class Item:
    """A message that the user has not read, or a thread that the user follows, and its room."""

    message: Message
    room: RoomRow
    is_thread: bool = False

    @property
    def words(self) -> str:
        text = " ".join(self.message.text[: 2 * LAST_LINE].split())
        return text if len(text) <= LAST_LINE else f"{text[:LAST_LINE].rstrip()}…"

    @property
    def at(self) -> datetime:
        last = self.message.last_reply_at if self.is_thread else None
        return last or self.message.created_at


@dataclass(frozen=True, slots=True)
class OpenRoom:
    """An open room that the user may join; `people` is the number of its members."""

    id: UUID
    name: str
    people: int
    last_line: str
    personas: list[Persona] = field(default_factory=list)


def home_context(user: User, team: Team, permissions: frozenset[str]) -> dict[str, Any]:
    """Return the context for a user with these permissions on the team.

    The number of queries does not depend on rooms, people or messages.
    """
    context = shell_context(user, team, permissions=permissions)
    rows: Mapping[UUID, RoomRow] = context["rows"]
    waiting = waiting_items(user, team) if context["asking"] else []
    joinable = _open_rooms(user, team) if context["may_join"] else []
    mine = granted_to(user, EDIT, Persona.objects.filter(team=team))
    personas = list(_with_rooms(mine)[: GROUP + 1])
    return context | {
        "is_home": True,
        "waiting": [(item, rows[item.room_id]) for item in waiting if item.room_id in rows],
        "mentions": [item for each in _mentions(user, team) if (item := _item(each, rows))],
        "threads": _threads(user, team, rows) if context["unread_threads"] else [],
        "answered": [item for each in _answered(user, team) if (item := _item(each, rows))],
        "joinable": joinable[:GROUP],
        "has_more_joinable": len(joinable) > GROUP,
        "my_personas": personas[:GROUP],
        "has_more_of_mine": len(personas) > GROUP,
    }


def _mentions(user: User, team: Team) -> list[Message]:
    """Return the newest unread messages that mention the user.

    The key of mentions is read from the read position in each room on; those in threads are found
    by the unread threads of the user.
    """
    mine = Mention.objects.filter(user=user, room__in=_own(user, team).values("pk"))
    in_rooms = mine.filter(
        thread=None, room__members__user=user, seq__gt=F("room__members__read_seq")
    )
    in_threads = mine.filter(
        thread__followers__user=user,
        thread__followers__is_unread=True,
        seq__gt=F("thread__followers__read_seq"),
    )
    unread = Mention.objects.filter(pk__in=in_rooms.values("pk").union(in_threads.values("pk")))
    found = unread.select_related("message__user", "message__persona")
    # Not by the key: for a user without unread mentions, its index would be read to the end.
    found = found.order_by("-message__created_at")
    return [each.message for each in found[:GROUP]]


def _answered(user: User, team: Team) -> list[Message]:
    """Return the newest unread answers to questions of the user.

    The unread messages of each room are read, and not all runs of the user.
    """
    unread = Message.objects.current().filter(
        room__in=_own(user, team).values("pk"),
        room__members__user=user,
        seq__gt=F("room__members__read_seq"),
        author_kind=AuthorKind.PERSONA,
        deleted_at=None,
        answered_by__requested_by=user,
        answered_by__state=RunState.COMPLETED,
        answered_by__ended_at__gt=timezone.now() - AWAY,
    )
    found = unread.exclude(text="").select_related("persona").order_by("-answered_by__ended_at")
    return list(found[:GROUP])


def _threads(user: User, team: Team, rows: Mapping[UUID, RoomRow]) -> list[Item]:
    """Return the followed threads with unread replies, those with the newest reply first."""
    unread = followed_threads(user, team).filter(is_unread=True).order_by("-at")
    found = unread.select_related("root__user", "root__persona")[:GROUP]
    return [Item(each.root, rows[each.room_id], True) for each in found if each.room_id in rows]


def _own(user: User, team: Team) -> QuerySet[Room]:
    return Room.objects.visible_to(user).filter(team=team, archived_at=None)


def _item(message: Message, rows: Mapping[UUID, RoomRow]) -> Item | None:
    """Return the item of a message; None if its room is not among those of the sidebar."""
    row = rows.get(message.room_id)
    return Item(message, row) if row else None


def _open_rooms(user: User, team: Team) -> list[OpenRoom]:
    """Return one more than GROUP open rooms that the user may join, the active ones first."""
    order = (F("last_message_at").desc(nulls_last=True), "name", "pk")
    first = joinable_rooms(user, team).order_by(*order).values("pk")[: GROUP + 1]
    members = RoomMember.objects.active().filter(room=OuterRef("pk")).order_by()
    said = Message.objects.of_room().filter(room=OuterRef("pk")).exclude(text="").order_by("-seq")
    rooms = Room.objects.filter(pk__in=first).annotate(
        people=Subquery(members.values("room").annotate(count=Count("pk")).values("count")),
        author=Subquery(said.values("author_name")[:1]),
        said=Subquery(said.annotate(start=Left(F("text"), LAST_LINE)).values("start")[:1]),
    )
    values = rooms.order_by(*order).values_list("pk", "name", "topic", "people", "author", "said")
    found = [
        OpenRoom(pk, name, people or 0, last_line(author, said) if said else topic)
        for pk, name, topic, people, author, said in values
    ]
    personas = _personas_of([room.id for room in found])
    for room in found:
        room.personas.extend(personas[room.id][:FACES])
    return found


def _personas_of(rooms: list[UUID]) -> dict[UUID, list[Persona]]:
    """Return the personas that are bound to these rooms, in the order in which they were bound."""
    found: dict[UUID, list[Persona]] = defaultdict(list)
    for binding in RoomPersona.objects.filter(room__in=rooms).select_related("persona"):
        found[binding.room_id].append(binding.persona)
    return found


def _with_rooms(personas: QuerySet[Persona]) -> QuerySet[Persona]:
    """Annotate personas with the number of live rooms that they are in."""
    live = Q(bindings__room__archived_at=None, bindings__room__deleted_at=None)
    counted = personas.annotate(room_count=Count("bindings", filter=live))
    return counted.select_related("connection")
